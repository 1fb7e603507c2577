"""What a layer's weight is quantized as already: in a layout of ours, or in one of core's with the same numbers."""

from collections.abc import Callable

import torch
from comfy_kitchen.tensor import QuantizedTensor

from ..formats import FORMATS, format_of


def held_format(layer: torch.nn.Module) -> str | None:
    """A name in FORMATS, core's name of a format that only core has, or None for a float weight."""
    if not isinstance(layer.weight, QuantizedTensor):
        return None
    weight = in_our_layout(layer)
    return layer.quant_format if weight is None else format_of(weight).name


def in_our_layout(layer: torch.nn.Module, weight: QuantizedTensor | None = None) -> QuantizedTensor | None:
    """The layer's quantized weight, or a patched one of its kind, in a layout of FORMATS with the codes as they are;
    None if there is none for it."""
    weight = layer.weight if weight is None else weight
    if getattr(layer, "pre_quant_scale", None) is not None and weight._layout_cls not in OURS:
        return None  # core smooths activations beside the weight
    repack = CORES.get(weight._layout_cls)
    if repack is not None:
        return repack(layer, weight)
    return None if format_of(weight) is None else weight


def _int8(layer: torch.nn.Module, weight: QuantizedTensor) -> QuantizedTensor | None:
    """One scale or one per row -> one per row; None for codes that are rotated in groups of no row."""
    rotated = format_of(weight)
    if weight._params.convrot and rotated is None:
        return None
    scale = weight._params.scale.to(torch.float32).reshape(-1, 1).expand(weight.shape[0], 1).contiguous()
    tensors = {"codes": weight._qdata, "scale": scale}
    return (rotated or FORMATS["int8-channel"]).wrap(tensors, weight.dtype, tuple(weight.shape))


def _fp8(layer: torch.nn.Module, weight: QuantizedTensor) -> QuantizedTensor:
    """A scalar scale; core keeps the static scale of the activations beside the weight."""
    scale = weight._params.scale.to(torch.float32).reshape(-1, 1)
    static = getattr(layer, "input_scale", None)
    static = scale.new_empty(0) if static is None else static.to(torch.float32).reshape(1)
    tensors = {"codes": weight._qdata, "scale": scale, "input_scale": static}
    return FORMATS["fp8-tensor"].wrap(tensors, weight.dtype, tuple(weight.shape))


# core's layout -> the same weight in ours
CORES: dict[str, Callable[[torch.nn.Module, QuantizedTensor], QuantizedTensor | None]] = {
    "TensorWiseINT8Layout": _int8,
    "TensorCoreFP8E4M3Layout": _fp8,
}
# layouts that only this pack has
OURS = frozenset(row.layout_name for row in FORMATS.values() if row.layout_name.startswith("X2V"))
