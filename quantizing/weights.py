"""The weights of a loaded model's linear layers in float32, whoever loaded them."""

import comfy.ops
import torch
from comfy_kitchen.tensor import QuantizedTensor

from ..linear import QuantLinear
from ..linear.layers import is_ours
from .stored_format import in_our_layout

# modules that define linear layers whose `weight` is what they multiply by; of others only the forward is to be trusted
PLAIN_HOMES = (comfy.ops.__name__, torch.nn.Linear.__module__, QuantLinear.__module__)
# unit vectors that are multiplied at a time by a layer of which only the forward is known
UNIT_ROWS = 1024


def shape_of(layer: torch.nn.Module) -> tuple[int, int]:
    """(N, K)."""
    return layer.out_features, layer.in_features


def is_foreign(layer: torch.nn.Module) -> bool:
    """Whether only the layer's own forward can tell its weight: another pack's class, GGUF's for one."""
    return not isinstance(layer.weight, QuantizedTensor) and type(layer).__module__ not in PLAIN_HOMES


def read(layer: torch.nn.Module, device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The layer's weight [N, K] in float32 on `device`, and its bias [N]. Either may be the layer's own: not to be
    written to."""
    if is_foreign(layer):
        return _through_forward(layer, device)
    weight = layer.weight
    if isinstance(weight, QuantizedTensor):
        held = in_our_layout(layer)
        weight = (weight if held is None else held).to(device).to(dtype=torch.float32).dequantize()
    weight = weight.to(device)
    weight = weight.to(torch.float32)
    smoothing = None if is_ours(layer) else getattr(layer, "pre_quant_scale", None)  # core multiplies the input by it
    return (weight if smoothing is None else weight * smoothing.to(weight)), layer.bias


def _through_forward(layer: torch.nn.Module, device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    """What the layer makes of zero is its bias, what it makes of each unit vector a column of its weight."""
    rows, columns = shape_of(layer)
    bias = layer(torch.zeros((1, columns), device=device)).float()
    weight = torch.empty((rows, columns), device=device)
    for start in range(0, columns, UNIT_ROWS):
        units = torch.zeros((min(UNIT_ROWS, columns - start), columns), device=device)
        units.diagonal(start).fill_(1)
        weight[:, start : start + len(units)] = (layer(units).float() - bias).t()
    return weight, None if layer.bias is None else bias[0]
