"""Dequantize the weight to the activation's dtype and multiply in float: runs anywhere, saves memory, not time."""

import torch

from ..formats import FORMATS, before_repacking
from .declare import declare
from .kernel import Kernel

SUMMARY = "weights are turned back to 16 or 32 bits for each call: saves memory, not time"


def _row(format_name: str) -> Kernel:
    stored = FORMATS[format_name]

    def linear(x, weight, bias):
        dense = stored.wrap(vars(weight), x.dtype, weight.shape).dequantize()
        return torch.nn.functional.linear(x, dense, bias)

    (kernel,) = declare("dequant", format_name, SUMMARY, fused=linear, bias_like_x=True, with_smoothed=False)
    return kernel


# one for every format: weights as they are stored, of which repacked ones are taken too
OF_FORMAT = {name: _row(name) for name in FORMATS}
# a repacked format has another that is dequantized faster
ROWS = tuple(kernel for name, kernel in OF_FORMAT.items() if name == before_repacking(name))
