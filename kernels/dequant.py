"""Dequantize the weight to the activation's dtype and multiply in float: runs anywhere, saves memory, not time."""

import functools

import torch

from ..formats import FORMATS, like, original
from .kernel import Kernel

SUMMARY = "weights dequantized for each call, float matmul: memory is saved, time is not"


@torch.library.custom_op("x2v_quant::dequant_linear", mutates_args=())
def dequant_linear(
    x: torch.Tensor, parts: list[torch.Tensor], format_name: str, shape: list[int], bias: torch.Tensor | None
) -> torch.Tensor:
    """x [M, K] float, a weight of `shape` (N, K) as `Format.parts` gives it -> [M, N] in x.dtype."""
    held = FORMATS[format_name]
    weight = held.wrap(dict(zip(held.tensors, parts, strict=True)), x.dtype, tuple(shape)).dequantize()
    return torch.nn.functional.linear(x, weight, None if bias is None else bias.to(x.dtype))


@dequant_linear.register_fake
def _(x, parts, format_name, shape, bias):
    return x.new_empty((x.shape[0], shape[0]))


@functools.cache
def row(format_name: str) -> Kernel:
    """The kernel for weights as they are stored in the format, of which repacked ones are taken too."""

    def linear(x, codes, params, bias):
        parts = FORMATS[format_name].parts(codes, params)
        return torch.ops.x2v_quant.dequant_linear(x, parts, format_name, list(params.orig_shape), bias)

    return Kernel("dequant", (format_name,), linear, "float", SUMMARY)


# a repacked format has another that is dequantized faster
ROWS = tuple(row(name) for name in FORMATS if name == like(name, original(name)))
