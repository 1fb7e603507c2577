"""Dequantize the weight to the activation's dtype and multiply in float: runs anywhere, saves memory, not time."""

import torch

from ..formats.channel import scaled
from .kernel import Kernel


@torch.library.custom_op("x2v_quant::dequant_linear", mutates_args=())
def dequant_linear(
    x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """x [M, K] float, codes [N, K], scale float32 broadcasting to [N, K] -> [M, N] in x.dtype."""
    return torch.nn.functional.linear(x, scaled(codes, scale, x.dtype), None if bias is None else bias.to(x.dtype))


@dequant_linear.register_fake
def _(x, codes, scale, bias):
    return x.new_empty((x.shape[0], codes.shape[0]))


def _linear(x, codes, params, bias):
    return torch.ops.x2v_quant.dequant_linear(x, codes, params.scale, bias)


ROWS = (
    Kernel(
        "dequant",
        ("fp8-channel", "int8-channel"),
        _linear,
        "float",
        10,
        "weights dequantized for each call, float matmul: memory is saved, time is not",
    ),
)
