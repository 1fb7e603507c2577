"""The truth that every kernel is tested against: float32 throughout, quantized activations simulated exactly."""

from typing import Any

import torch

from ..formats import FORMATS
from .activation import SIMULATED
from .kernel import Kernel, Steps

# tensors of a weight that activations are quantized with
READ_BY_ACTIVATIONS = ("input_scale", "pre_quant_scale")


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
    tensors = dict(zip(FORMATS[format_name].tensors, parts, strict=True))
    values = SIMULATED[activation](x.to(torch.float32), tensors)
    return _product(values, parts, format_name, shape, bias, x.dtype)


def _product(values, parts, format_name, shape, bias, dtype):
    row = FORMATS[format_name]
    weight = row.wrap(dict(zip(row.tensors, parts, strict=True)), torch.float32, tuple(shape)).dequantize()
    y = values @ weight.t()
    return (y if bias is None else y + bias.to(torch.float32)).to(dtype)


@reference_linear.register_fake
def _(x, parts, format_name, shape, bias, activation):
    return x.new_empty((x.shape[0], shape[0]))


@torch.library.custom_op("x2v_quant::reference_quantize", mutates_args=())
def reference_quantize(x: torch.Tensor, activation: str, names: str, tensors: list[torch.Tensor]) -> torch.Tensor:
    """x [M, K] float, a name in activation.SIMULATED and what it reads of the weight, `names` parted by commas -> x as
    it is multiplied, float32 [M, K]."""
    values = SIMULATED[activation](x.to(torch.float32), dict(zip(names.split(","), tensors, strict=bool(names))))
    return values.clone() if values is x else values


@reference_quantize.register_fake
def _(x, activation, names, tensors):
    return x.new_empty(x.shape, dtype=torch.float32)


@torch.library.custom_op("x2v_quant::reference_multiply", mutates_args=())
def reference_multiply(
    values: torch.Tensor,
    dtype: torch.dtype,
    parts: list[torch.Tensor],
    format_name: str,
    shape: list[int],
    bias: torch.Tensor | None,
) -> torch.Tensor:
    """`reference_linear` of what `reference_quantize` gave."""
    return _product(values, parts, format_name, shape, bias, dtype)


@reference_multiply.register_fake
def _(values, dtype, parts, format_name, shape, bias):
    return values.new_empty((values.shape[0], shape[0]), dtype=dtype)


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

    steps = None if activation == "float" else _steps(format_name, activation)
    return Kernel("reference", (format_name,), linear, activation, "float32, the yardstick of the tests", steps=steps)


def _steps(format_name: str, activation: str) -> Steps:
    reads = tuple(name for name in READ_BY_ACTIVATIONS if name in FORMATS[format_name].tensors)

    def quantize(x, params):
        tensors = [getattr(params, name) for name in reads]
        return [torch.ops.x2v_quant.reference_quantize(x, activation, ",".join(reads), tensors)]

    def multiply(given, rows, dtype, codes, params, bias):
        parts = FORMATS[format_name].parts(codes, params)
        shape = list(params.orig_shape)
        return torch.ops.x2v_quant.reference_multiply(*given, dtype, parts, format_name, shape, bias)

    return Steps(quantize, multiply, reads)


ROWS = tuple(_row(name) for name in FORMATS)
