"""From one format to another: exactly where both hold the same numbers, else through float32."""

from collections.abc import Callable

import torch
from comfy_kitchen.tensor import QuantizedTensor

from . import FORMAT_OF_LAYOUT, FORMATS

# (from, to) -> the repacking, which changes no value. Every pair of one family has its row.
REPACKINGS: dict[tuple[str, str], Callable[[QuantizedTensor], QuantizedTensor]] = {}


def convert(weight: QuantizedTensor, target: str) -> QuantizedTensor:
    """`weight` [N, K] in the format named `target`, of the same dtype and on the same device."""
    source = FORMAT_OF_LAYOUT[weight._layout_cls].name
    if source == target:
        return weight
    repack = REPACKINGS.get((source, target))
    if repack is not None:
        return repack(weight)
    return FORMATS[target].quantize(weight.to(dtype=torch.float32).dequantize(), weight.dtype)


def added_error(weight: QuantizedTensor, converted: QuantizedTensor) -> float:
    """Relative Frobenius distance of `converted` from `weight`: what the conversion costs in accuracy."""
    before = weight.to(dtype=torch.float32).dequantize()
    after = converted.to(dtype=torch.float32).dequantize()
    return float((after - before).norm() / before.norm().clamp(min=1e-30))
