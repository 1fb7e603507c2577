"""The truth that every kernel is tested against: float32 throughout, quantized activations simulated exactly."""

from typing import Any

import torch

from ..formats import FORMATS
from .activation import SIMULATED
from .kernel import Kernel


@torch.library.custom_op("x2v_quant::reference_linear", mutates_args=())
def reference_linear(
    x: torch.Tensor,
    parts: list[torch.Tensor],
    format_name: str,
    shape: list[int],
    bias: torch.Tensor | None,
    activation: str,
) -> torch.Tensor:
    """x [M, K] float, a weight of `shape` (N, K) as `Format.parts` gives it, a name in activation.SIMULATED
    -> [M, N] in x.dtype: dequantize both sides to float32, multiply in float32."""
    row = FORMATS[format_name]
    tensors = dict(zip(row.tensors, parts, strict=True))
    weight = row.wrap(tensors, torch.float32, tuple(shape)).dequantize()
    values = SIMULATED[activation](x.to(torch.float32), tensors)
    y = values @ weight.t()
    return (y if bias is None else y + bias.to(torch.float32)).to(x.dtype)


@reference_linear.register_fake
def _(x, parts, format_name, shape, bias, activation):
    return x.new_empty((x.shape[0], shape[0]))


def reference(
    x: torch.Tensor, format_name: str, codes: torch.Tensor, params: Any, bias: torch.Tensor | None, activation: str
) -> torch.Tensor:
    """`reference_linear` on what a layout holds."""
    parts = FORMATS[format_name].parts(codes, params)
    return torch.ops.x2v_quant.reference_linear(x, parts, format_name, list(params.orig_shape), bias, activation)


def _row(format_name: str) -> Kernel:
    activation = FORMATS[format_name].activation

    def linear(x, codes, params, bias):
        return reference(x, format_name, codes, params, bias, activation)

    return Kernel("reference", (format_name,), linear, activation, "float32, the yardstick of the tests")


ROWS = tuple(_row(name) for name in FORMATS)
