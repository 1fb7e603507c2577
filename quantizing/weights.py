"""Reads the weights of linear layers in float32, from any loader."""

import comfy.ops
import torch
from comfy_kitchen.tensor import QuantizedTensor

from ..linear import QuantLinear
from ..linear.layers import is_ours
from .stored_format import in_our_layout

# Python modules whose linear layers multiply by their `weight`; for other classes only the forward can be trusted
PLAIN_HOMES = (comfy.ops.__name__, torch.nn.Linear.__module__, QuantLinear.__module__)
# unit vectors per call of a layer that is read through its forward
UNIT_ROWS = 1024


def shape_of(layer: torch.nn.Module) -> tuple[int, int]:
    """(N, K)."""
    return layer.out_features, layer.in_features


def is_foreign(layer: torch.nn.Module) -> bool:
    """Whether the weight can be read only through the layer's forward: a class of another pack, such as GGUF's."""
    return not isinstance(layer.weight, QuantizedTensor) and type(layer).__module__ not in PLAIN_HOMES


def read(layer: torch.nn.Module, device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(weight [N, K] in float32 on `device`, bias [N] or None). Either may be the layer's own tensor: do not write to
    it."""
    if is_foreign(layer):
        return _through_forward(layer, device)
    weight = layer.weight
    if isinstance(weight, QuantizedTensor):
        ours = in_our_layout(layer)
        weight = (weight if ours is None else ours).to(device).to(dtype=torch.float32).dequantize()
    weight = weight.to(device)
    weight = weight.to(torch.float32)
    smoothing = None if is_ours(layer) else getattr(layer, "pre_quant_scale", None)  # core multiplies the input by it
    return (weight if smoothing is None else weight * smoothing.to(weight)), layer.bias


def _through_forward(layer: torch.nn.Module, device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weight and bias from calls of the layer: zeros give the bias, each unit vector a column of the weight."""
    rows, columns = shape_of(layer)
    bias = layer(torch.zeros((1, columns), device=device)).float()
    weight = torch.empty((rows, columns), device=device)
    for start in range(0, columns, UNIT_ROWS):
        units = torch.zeros((min(UNIT_ROWS, columns - start), columns), device=device)
        units.diagonal(start).fill_(1)
        weight[:, start : start + len(units)] = (layer(units).float() - bias).t()
    return weight, None if layer.bias is None else bias[0]
