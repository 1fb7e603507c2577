"""The stored format of a layer's weight: a layout of ours, or one of core's with the same values."""

from collections.abc import Callable

import torch
from comfy_kitchen.tensor import QuantizedTensor

from ..formats import FORMATS, ROTATIONS, awq_w4a16, convrot_w4a4, core_layout, format_of, int8_convrot, w4a8
from ..linear.layers import linear_layers


def stored_format(layer: torch.nn.Module) -> str | None:
    """A name in FORMATS; core's name for a format that only core has; None for a float weight."""
    if not isinstance(layer.weight, QuantizedTensor):
        return None
    weight = in_our_layout(layer)
    return layer.quant_format if weight is None else format_of(weight).name


def markers(model: torch.nn.Module) -> set[str]:
    """The names by which core's loaders know the formats of a model's quantized layers."""
    found = filter(None, map(stored_format, linear_layers(model).values()))
    return {FORMATS[name].marker if name in FORMATS else name for name in found}


def in_our_layout(layer: torch.nn.Module, weight: QuantizedTensor | None = None) -> QuantizedTensor | None:
    """The layer's quantized weight, or a patched `weight` of the same kind, repacked with the same codes into a layout
    of FORMATS; None if no layout fits."""
    weight = layer.weight if weight is None else weight
    if getattr(layer, "pre_quant_scale", None) is not None and weight._layout_cls not in OURS:
        return None  # core smooths activations beside the weight
    repack = CORES.get(weight._layout_cls)
    if repack is not None:
        return repack(layer, weight)
    return None if format_of(weight) is None else weight


def _same(layer: torch.nn.Module, weight: QuantizedTensor) -> QuantizedTensor:
    return core_layout.renamed(weight)


def _int8(layer: torch.nn.Module, weight: QuantizedTensor) -> QuantizedTensor | None:
    """int8 with one scale, or one per row, as int8 with one per row; None for rotations that no format has."""
    rotated = format_of(core_layout.renamed(weight))
    if weight._params.convrot and rotated is None:
        return None
    scale = weight._params.scale.to(torch.float32).reshape(-1, 1).expand(weight.shape[0], 1).contiguous()
    tensors = {"codes": weight._qdata, "scale": scale}
    return (rotated or FORMATS["int8-channel"]).wrap(tensors, weight.dtype, tuple(weight.shape))


def _fp8(layer: torch.nn.Module, weight: QuantizedTensor) -> QuantizedTensor:
    """fp8 with one scale; core has the static scale of the activations beside the weight."""
    scale = weight._params.scale.to(torch.float32).reshape(-1, 1)
    static = getattr(layer, "input_scale", None)
    static = scale.new_empty(0) if static is None else static.to(torch.float32).reshape(1)
    tensors = {"codes": weight._qdata, "scale": scale, "input_scale": static}
    return FORMATS["fp8-tensor"].wrap(tensors, weight.dtype, tuple(weight.shape))


def _awq(layer: torch.nn.Module, weight: QuantizedTensor) -> QuantizedTensor | None:
    """int4 with zero points, which core has a row of for each group; None for groups that no format has."""
    params = weight._params
    if params.group_size not in awq_w4a16.GROUPS:
        return None
    tensors = {name: awq_w4a16.narrowed(getattr(params, name)).t().contiguous() for name in ("scale", "zeros")}
    row = FORMATS[awq_w4a16.name_of(params.group_size)]
    return row.wrap({"codes": weight._qdata, **tensors}, weight.dtype, tuple(weight.shape))


def _w4a4(layer: torch.nn.Module, weight: QuantizedTensor) -> QuantizedTensor | None:
    """Rotated int4; None for rotations that no format has."""
    params = weight._params
    name = convrot_w4a4.NAMES.get((params.convrot_groupsize, params.linear_dtype))
    if name is None:
        return None
    tensors = {"codes": weight._qdata, "scale": params.scale.to(torch.float32).reshape(-1, 1)}
    return FORMATS[name].wrap(tensors, weight.dtype, tuple(weight.shape))


def _w4a8(layer: torch.nn.Module, weight: QuantizedTensor) -> QuantizedTensor | None:
    """4-bit codes of a table; None for core's other variants: six bits, no table, a correction, other groups, codes and
    scales packed together."""
    params = weight._params
    name = ROTATIONS[w4a8.NAME].get(params.convrot_groupsize)
    usual = params._tensor_fields() == list(w4a8.TENSORS[1:]) and params.group_size == w4a8.GROUP
    if name is None or not usual or weight._qdata.ndim != 2:
        return None
    row = FORMATS[name]
    tensors = dict(zip(row.tensors, row.parts(weight._qdata, params), strict=True))
    return row.wrap(tensors, weight.dtype, tuple(weight.shape))


# core's layout -> the same weight in ours
CORES: dict[str, Callable[[torch.nn.Module, QuantizedTensor], QuantizedTensor | None]] = {
    **dict.fromkeys(core_layout.OURS, _same),
    int8_convrot.CORES: _int8,
    "TensorCoreFP8E4M3Layout": _fp8,
    "TensorCoreAWQW4A16Layout": _awq,
    "TensorCoreConvRotW4A4Layout": _w4a4,
    w4a8.CORES: _w4a8,
}
OURS = frozenset(row.layout_name for row in FORMATS.values())
