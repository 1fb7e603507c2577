"""The truth that every kernel is tested against: float32 throughout, quantized activations simulated exactly."""

import torch

from .activation import quantize_fp8, quantize_int8
from .kernel import Kernel


@torch.library.custom_op("x2v_quant::reference_linear", mutates_args=())
def reference_linear(
    x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, activation: str
) -> torch.Tensor:
    """x [M, K] float, codes [N, K], scale float32 broadcasting to [N, K], activation "int8", "fp8" or "float"
    -> [M, N] in x.dtype: dequantize both sides to float32, multiply in float32."""
    values = x.to(torch.float32)
    if activation != "float":
        quantized, token_scale = quantize_int8(values) if activation == "int8" else quantize_fp8(values)
        values = quantized.to(torch.float32) * token_scale
    weight = codes.to(torch.float32) * scale
    y = values @ weight.t()
    return (y if bias is None else y + bias.to(torch.float32)).to(x.dtype)


@reference_linear.register_fake
def _(x, codes, scale, bias, activation):
    return x.new_empty((x.shape[0], codes.shape[0]))


def _row(format_name: str, activation: str) -> Kernel:
    def linear(x, codes, params, bias):
        return torch.ops.x2v_quant.reference_linear(x, codes, params.scale, bias, activation)

    return Kernel("reference", (format_name,), linear, activation, 0, "float32, the yardstick of the tests")


ROWS = (_row("int8-channel", "int8"), _row("fp8-channel", "fp8"))
