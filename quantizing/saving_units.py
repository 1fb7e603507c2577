"""The tensors of a loaded model in a dialect, each made lazily when it is written."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from comfy_kitchen.tensor import QuantizedTensor

from ..checkpoints.checkpoint import StoredWeight
from ..checkpoints.encodings import LIGHTX2V
from ..common.row_slice import RowSlice, shape_of, take
from ..converting.dialects import choices, layer_specs, layer_tensors, writable
from ..converting.units import Spec, Unit
from ..families.family import SAME, LightX2VNames
from ..families.rules import targets
from ..formats import FORMATS, before_repacking, format_of, like, original
from ..formats.convert import convert
from ..formats.format import Format
from ..linear.layers import linear_layers
from .errors import QuantizeError
from .sharing import affine_norms
from .stored_format import in_our_layout
from .weights import is_foreign, read

WEIGHT = ".weight"
# tensors of a quantized layer in core's models that are written with its weight
PREFIXED = ("comfy_quant", "weight_scale", "weight_scale_2", "input_scale", "pre_quant_scale")


@dataclass(frozen=True)
class SavedModule:
    """The module `path` of an unloaded ModelPatcher's model, to be written in `dialect`. `plain_dtype`: dtype for
    weights of other packs' layers, which have to be read through their forward. `names`: tensor names in the file."""

    patcher: object
    path: str
    dialect: str
    plain_dtype: torch.dtype
    names: LightX2VNames = SAME

    def units(self) -> list[Unit]:
        """Everything to write. Raises QuantizeError for a layer whose format, smoothing or shape the dialect lacks."""
        layers = linear_layers(self.root)
        found = affine_norms(layers) if self.dialect == LIGHTX2V else []
        for name, tensor in self.tensors().items():
            if not _beside(name, layers):
                found += self._units(name, tensor, layers)
        return found

    @property
    def root(self) -> torch.nn.Module:
        return self.patcher.model.get_submodule(self.path)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Parameters, and the buffers that are in the state dict."""
        names = self.root.state_dict().keys()
        buffers = {name: tensor for name, tensor in self.root.named_buffers() if name in names}
        return {**dict(self.root.named_parameters()), **buffers}

    def _units(self, name: str, tensor: torch.Tensor, layers: dict[str, torch.nn.Module]) -> list[Unit]:
        """A unit for each tensor or layer that this tensor becomes in the file."""
        found = targets(self.names.table, name)
        if not self.names.can_cut(tuple(tensor.shape), found):
            raise QuantizeError(
                f"{name} has shape {list(tensor.shape)}, which is not the {found[0].source.count} equal parts that "
                "LightX2V has of it. Set load with (dialect) to x2v or comfyui."
            )
        slices: dict[str, list[RowSlice]] = {}
        for target in sorted(found, key=lambda target: target.place):
            slices.setdefault(target.name, []).append(target.source)
        return [self._unit(name, target, rows, tensor, layers) for target, rows in slices.items()]

    def _unit(
        self, name: str, target: str, slices: list[RowSlice], tensor: torch.Tensor, layers: dict[str, torch.nn.Module]
    ) -> Unit:
        """The unit `target` for the tensor `name`. slices: the rows to write."""
        layer = layers.get(name.removesuffix(WEIGHT)) if name.endswith(WEIGHT) else None
        if layer is not None and isinstance(layer.weight, QuantizedTensor):
            return self._quantized(name.removesuffix(WEIGHT), target.removesuffix(WEIGHT), slices, layer)
        if layer is not None and is_foreign(layer):
            shape, dtype = shape_of((layer.out_features, layer.in_features), slices), self.plain_dtype
            return plain(
                target, Spec(dtype, shape), lambda: take(read(layer, torch.device("cpu"))[0], slices).to(dtype)
            )
        spec = Spec(tensor.dtype, shape_of(tuple(tensor.shape), slices))
        return plain(target, spec, lambda: take(self._patched(name), slices))

    def _quantized(self, name: str, target: str, slices: list[RowSlice], layer: torch.nn.Module) -> Unit:
        weight = in_our_layout(layer)
        if weight is None:
            raise QuantizeError(
                f"Layer {name} is {layer.quant_format}, which no file of this pack has. Use ComfyUI's ModelSave or "
                "CLIPSave."
            )
        format_name = self._in_files(format_of(weight))
        if format_name not in writable(self.dialect):
            raise QuantizeError(
                f"Layer {name} is {format_name}, which files for {self.dialect} do not have. Set load with (dialect) "
                f"to x2v, or quantize it to one of {', '.join(choices(self.dialect))}."
            )
        static = format_name == "fp8-tensor" and weight._params.input_scale.numel() > 0
        specs = layer_specs(format_name, shape_of(tuple(layer.weight.shape), slices), self.dialect, static=static)

        def parts() -> Iterator[tuple[str, torch.Tensor]]:
            stored = _cut(self._stored(name, layer, format_name), slices)
            for end, tensor in layer_tensors(stored, self.dialect).items():
                yield f"{target}.{end}", tensor

        return Unit(target, {f"{target}.{end}": Spec.of(tensor) for end, tensor in specs.items()}, parts)

    def _stored(self, name: str, layer: torch.nn.Module, format_name: str) -> StoredWeight:
        weight = in_our_layout(layer, self._patched(f"{name}{WEIGHT}"))
        stored = StoredWeight.of(convert(weight, like(format_of(weight).name, format_name)))
        # without the factor of a smoothed weight where it is written into a norm
        tensors = {name: stored.tensors[name] for name in FORMATS[format_name].tensors}
        return StoredWeight(format_name, stored.shape, tensors)

    def _in_files(self, row: Format) -> str:
        """The format in the file: not repacked, and in LightX2V's dialect without the factor, which goes to a norm."""
        return original(row.name) if self.dialect == LIGHTX2V else before_repacking(row.name)

    def _patched(self, name: str) -> torch.Tensor:
        """A tensor with its LoRAs merged, in RAM."""
        patcher = self.patcher
        key = f"{self.path}.{name}"
        if key in patcher.object_patches:
            return patcher.object_patches[key].detach().cpu()
        return patcher.patch_weight_to_device(key, patcher.load_device, return_weight=True).detach().cpu()


def plain(name: str, spec: Spec, make: Callable[[], torch.Tensor]) -> Unit:
    """A unit of one tensor, made by `make`."""

    def parts() -> Iterator[tuple[str, torch.Tensor]]:
        yield name, make()

    return Unit(name, {name: spec}, parts)


def _beside(name: str, layers: dict[str, torch.nn.Module]) -> bool:
    """Whether a parameter belongs to a quantized weight and is written with it."""
    layer, _, end = name.rpartition(".")
    return end in PREFIXED and layer in layers and isinstance(layers[layer].weight, QuantizedTensor)


def _cut(stored: StoredWeight, slices: list[RowSlice]) -> StoredWeight:
    """The rows with their codes, or requantized if the format cannot cut there (blocks, groups)."""
    found = stored.cut(slices)
    if found is not None:
        return found
    values = take(stored.wrap(torch.float32).dequantize(), slices)
    tensors = FORMATS[stored.format].encode(values, scale="recalculate")
    return StoredWeight(stored.format, tuple(values.shape), tensors)
