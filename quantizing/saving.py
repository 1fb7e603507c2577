"""A loaded MODEL to a file in one of the dialects, tensor by tensor, with what LoRAs make of it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import comfy.model_management
import torch
from comfy_kitchen.tensor import QuantizedTensor

from ..checkpoints.checkpoint import HeldWeight
from ..converting import packages
from ..converting.dialects import layer_specs, layer_tensors, writable
from ..converting.units import Spec, Unit
from ..converting.writer import Writer
from ..formats import FORMAT_OF_LAYOUT, FORMATS, SMOOTHED
from ..formats.convert import convert
from .errors import QuantizeError
from .held import in_our_layout
from .patchers import unload
from .weights import is_foreign, linear_layers, read

MODEL = "diffusion_model."
WEIGHT = ".weight"
# what core's models hold and no file has
PREFIXED = ("comfy_quant", "weight_scale", "weight_scale_2", "input_scale", "pre_quant_scale")


def save_model(
    patcher,
    target: Path,
    dialect: str,
    package: str = packages.FILE,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Write the diffusion model of a ModelPatcher to `target`, a file or for other packages a new folder, and return
    its bytes. LoRAs are in the weights, requantized as core itself does it. progress(bytes done, bytes in all).

    Raises QuantizeError for a layer that the dialect does not have, ConvertError if the target cannot be written.
    """
    unload(patcher)
    units = _Model(patcher, dialect).units()
    stem = target.stem if package == packages.FILE else target.name
    contents = packages.files(units, package, stem)
    writer = Writer(target, contents, _metadata(patcher), package == packages.FILE, "", resume=False)
    done, total = 0, sum(unit.nbytes for unit in units)

    def advance(nbytes: int) -> None:
        nonlocal done
        comfy.model_management.throw_exception_if_processing_interrupted()
        done += nbytes
        progress(done, total)

    writer.write(advance)
    return writer.bytes


class _Model:
    """The units of a MODEL that is not loaded on any device."""

    def __init__(self, patcher, dialect: str):
        self._patcher, self._dialect = patcher, dialect
        self._root = patcher.model.diffusion_model
        self._layers = linear_layers(self._root)

    def units(self) -> list[Unit]:
        tensors = {**dict(self._root.named_parameters()), **self._buffers()}
        return [self._unit(name, tensor) for name, tensor in tensors.items() if not self._beside(name)]

    def _buffers(self) -> dict[str, torch.Tensor]:
        """Those that a file has."""
        names = self._root.state_dict().keys()
        return {name: tensor for name, tensor in self._root.named_buffers() if name in names}

    def _beside(self, name: str) -> bool:
        """Whether a parameter belongs to a quantized weight and is written with it."""
        layer, _, end = name.rpartition(".")
        return end in PREFIXED and layer in self._layers and isinstance(self._layers[layer].weight, QuantizedTensor)

    def _unit(self, name: str, tensor: torch.Tensor) -> Unit:
        layer = self._layers.get(name.removesuffix(WEIGHT)) if name.endswith(WEIGHT) else None
        if layer is not None and isinstance(layer.weight, QuantizedTensor):
            return self._quantized(name.removesuffix(WEIGHT), layer)
        if layer is not None and is_foreign(layer):
            shape, dtype = (layer.out_features, layer.in_features), self._patcher.model.get_dtype_inference()
            return _plain(name, Spec(dtype, shape), lambda: read(layer, torch.device("cpu"))[0].to(dtype))
        return _plain(name, Spec.of(tensor), lambda: self._patched(name))

    def _quantized(self, name: str, layer: torch.nn.Module) -> Unit:
        weight = in_our_layout(layer)
        if weight is None:
            raise QuantizeError(
                f"Layer {name} is {layer.quant_format}, which no file of this pack holds. Use ComfyUI's ModelSave."
            )
        format_name = _in_files(FORMAT_OF_LAYOUT[weight._layout_cls].name)
        if format_name not in writable(self._dialect):
            raise QuantizeError(
                f"Layer {name} is {format_name}, which the dialect {self._dialect} does not have. Save it in the "
                f"dialect x2v, or quantize it to one of {', '.join(writable(self._dialect))}."
            )
        static = format_name == "fp8-tensor" and weight._params.input_scale.numel() > 0
        shape = tuple(layer.weight.shape)
        specs = layer_specs(format_name, shape, self._dialect, static=static)

        def parts() -> Iterator[tuple[str, torch.Tensor]]:
            for end, tensor in layer_tensors(self._held(name, layer, format_name), self._dialect).items():
                yield f"{name}.{end}", tensor

        return Unit(name, {f"{name}.{end}": Spec.of(tensor) for end, tensor in specs.items()}, parts)

    def _held(self, name: str, layer: torch.nn.Module, format_name: str) -> HeldWeight:
        weight = convert(in_our_layout(layer, self._patched(f"{name}{WEIGHT}")), format_name)
        row = FORMATS[format_name]
        tensors = dict(zip(row.tensors, row.parts(weight._qdata, weight._params), strict=True))
        return HeldWeight(format_name, tuple(weight.shape), tensors)

    def _patched(self, name: str) -> torch.Tensor:
        """A tensor with its LoRAs, in RAM."""
        patcher = self._patcher
        return patcher.patch_weight_to_device(f"{MODEL}{name}", patcher.load_device, return_weight=True).detach().cpu()


def _plain(name: str, spec: Spec, make: Callable[[], torch.Tensor]) -> Unit:
    def parts() -> Iterator[tuple[str, torch.Tensor]]:
        yield name, make()

    return Unit(name, {name: spec}, parts)


def _in_files(format_name: str) -> str:
    """The format that files hold a repacked one as."""
    row = FORMATS[format_name]
    return SMOOTHED[row.family] if row.smooth else row.family


def _metadata(patcher) -> dict[str, str]:
    """What core cannot read off the weights of a Wan model."""
    config = patcher.model.model_config.unet_config
    width = config.get("text_dim")
    return {} if width is None else {"config": json.dumps({"transformer": {"text_dim": width}})}
