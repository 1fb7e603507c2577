"""What every kernel is tested against: float32 throughout, quantized activations simulated exactly."""

from typing import Any

import torch

from ..formats import FORMATS
from .activation import SIMULATED
from .declare import Quantizer, declare
from .kernel import Kernel
from .ops import values_like

SUMMARY = "everything in float32: slow, for tests"
# tensors of a weight that activations are quantized with
READ_BY_ACTIVATIONS = ("input_scale", "pre_quant_scale")
OPTIONS = {"with_smoothed": False, "for_tests": True}


def reference(
    x: torch.Tensor, format_name: str, codes: torch.Tensor, params: Any, bias: torch.Tensor | None, activation: str
) -> torch.Tensor:
    """x [M, K] float, codes and params as the layout of `format_name` holds them, bias [N] or None, a name in
    activation.SIMULATED -> [M, N] in x.dtype: both sides dequantized to float32 and multiplied there."""
    tensors = dict(zip(FORMATS[format_name].tensors, FORMATS[format_name].parts(codes, params), strict=True))
    values = SIMULATED[activation](x.to(torch.float32), tensors)
    return _product(values, format_name, tensors, params.orig_shape, bias, x.dtype)


def _product(values, format_name, tensors, shape, bias, dtype):
    weight = FORMATS[format_name].wrap(tensors, torch.float32, shape).dequantize()
    y = values @ weight.t()
    return (y if bias is None else y + bias.to(torch.float32)).to(dtype)


def _row(format_name: str) -> Kernel:
    activation = FORMATS[format_name].activation
    reads = tuple(name for name in READ_BY_ACTIVATIONS if name in FORMATS[format_name].tensors)

    def quantize(x, *read):
        values = SIMULATED[activation](x.to(torch.float32), dict(zip(reads, read, strict=True)))
        return (values.clone() if values is x else values,)

    def multiply(quantized, weight, bias, dtype):
        return _product(*quantized, format_name, vars(weight), weight.shape, bias, dtype)

    def linear(x, weight, bias):
        return multiply((x.to(torch.float32),), weight, bias, x.dtype)

    if activation == "float":
        (kernel,) = declare("reference", format_name, SUMMARY, fused=linear, **OPTIONS)
    else:
        quantizer = Quantizer(activation, quantize, values_like, reads)
        (kernel,) = declare("reference", format_name, SUMMARY, quantizer=quantizer, product=multiply, **OPTIONS)
    return kernel


ROWS = tuple(_row(name) for name in FORMATS)
