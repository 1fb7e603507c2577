"""The tensors of a loaded model as a dialect has them, each made when its turn to be written has come."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from comfy_kitchen.tensor import QuantizedTensor

from ..checkpoints.checkpoint import HeldWeight
from ..converting.dialects import layer_specs, layer_tensors, writable
from ..converting.outputs import LIGHTX2V
from ..converting.units import Spec, Unit
from ..formats import FORMAT_OF_LAYOUT, SMOOTHED, like
from ..formats.convert import convert
from ..formats.format import Format
from .errors import QuantizeError
from .held import in_our_layout
from .sharing import affine_norms
from .weights import is_foreign, linear_layers, read

WEIGHT = ".weight"
# what core's models hold and no file has
PREFIXED = ("comfy_quant", "weight_scale", "weight_scale_2", "input_scale", "pre_quant_scale")


@dataclass(frozen=True)
class Part:
    """What is written of a ModelPatcher's model, which is on no device: the module called `path`. `plain_dtype`: of
    weights that only the forward of another pack's layer can tell. `rename`: a tensor's name in `path` -> the one in
    the dialect, None for what the dialect does not have."""

    patcher: object
    path: str
    dialect: str
    plain_dtype: torch.dtype
    rename: Callable[[str], str | None] = lambda name: name

    def units(self) -> list[Unit]:
        """Raises QuantizeError for a layer whose format, or whose smoothing, the dialect does not have."""
        layers = linear_layers(self.root)
        found = [(name, self.rename(name), tensor) for name, tensor in self.tensors().items()]
        norms = affine_norms(layers) if self.dialect == LIGHTX2V else []
        return norms + [
            self._unit(name, target, tensor, layers)
            for name, target, tensor in found
            if target is not None and not _beside(name, layers)
        ]

    @property
    def root(self) -> torch.nn.Module:
        return self.patcher.model.get_submodule(self.path)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Parameters, and of the buffers those that a file has."""
        names = self.root.state_dict().keys()
        buffers = {name: tensor for name, tensor in self.root.named_buffers() if name in names}
        return {**dict(self.root.named_parameters()), **buffers}

    def _unit(self, name: str, target: str, tensor: torch.Tensor, layers: dict[str, torch.nn.Module]) -> Unit:
        layer = layers.get(name.removesuffix(WEIGHT)) if name.endswith(WEIGHT) else None
        if layer is not None and isinstance(layer.weight, QuantizedTensor):
            return self._quantized(name.removesuffix(WEIGHT), target.removesuffix(WEIGHT), layer)
        if layer is not None and is_foreign(layer):
            shape, dtype = (layer.out_features, layer.in_features), self.plain_dtype
            return plain(target, Spec(dtype, shape), lambda: read(layer, torch.device("cpu"))[0].to(dtype))
        return plain(target, Spec.of(tensor), lambda: self._patched(name))

    def _quantized(self, name: str, target: str, layer: torch.nn.Module) -> Unit:
        weight = in_our_layout(layer)
        if weight is None:
            raise QuantizeError(
                f"Layer {name} is {layer.quant_format}, which no file of this pack holds. Use ComfyUI's ModelSave or "
                "CLIPSave."
            )
        format_name = self._in_files(FORMAT_OF_LAYOUT[weight._layout_cls])
        if format_name not in writable(self.dialect):
            raise QuantizeError(
                f"Layer {name} is {format_name}, which the dialect {self.dialect} does not have. Save it in the "
                f"dialect x2v, or quantize it to one of {', '.join(writable(self.dialect))}."
            )
        static = format_name == "fp8-tensor" and weight._params.input_scale.numel() > 0
        specs = layer_specs(format_name, tuple(layer.weight.shape), self.dialect, static=static)

        def parts() -> Iterator[tuple[str, torch.Tensor]]:
            for end, tensor in layer_tensors(self._held(name, layer, format_name), self.dialect).items():
                yield f"{target}.{end}", tensor

        return Unit(target, {f"{target}.{end}": Spec.of(tensor) for end, tensor in specs.items()}, parts)

    def _held(self, name: str, layer: torch.nn.Module, format_name: str) -> HeldWeight:
        weight = in_our_layout(layer, self._patched(f"{name}{WEIGHT}"))
        weight = convert(weight, like(FORMAT_OF_LAYOUT[weight._layout_cls].name, format_name))
        row = FORMAT_OF_LAYOUT[weight._layout_cls]
        tensors = dict(zip(row.tensors, row.parts(weight._qdata, weight._params), strict=True))
        return HeldWeight(format_name, tuple(weight.shape), tensors)

    def _in_files(self, row: Format) -> str:
        """The format that files hold a repacked one as; LightX2V's have the factor of a smoothed one in a norm."""
        return SMOOTHED[row.family] if row.smooth and self.dialect != LIGHTX2V else row.family

    def _patched(self, name: str) -> torch.Tensor:
        """A tensor with its LoRAs, in RAM."""
        patcher = self.patcher
        key = f"{self.path}.{name}"
        return patcher.patch_weight_to_device(key, patcher.load_device, return_weight=True).detach().cpu()


def plain(name: str, spec: Spec, make: Callable[[], torch.Tensor]) -> Unit:
    """One tensor that is written as `make` gives it."""

    def parts() -> Iterator[tuple[str, torch.Tensor]]:
        yield name, make()

    return Unit(name, {name: spec}, parts)


def _beside(name: str, layers: dict[str, torch.nn.Module]) -> bool:
    """Whether a parameter belongs to a quantized weight and is written with it."""
    layer, _, end = name.rpartition(".")
    return end in PREFIXED and layer in layers and isinstance(layers[layer].weight, QuantizedTensor)
