"""fp8 W8A8 with nothing but torch: per-token activations and torch._scaled_mm.

Row-wise scaling needs a build and a GPU that have it (not Windows, not every RTX 50 build), so the probe decides.
Tensor-wise scaling with unit scales works on every GPU with fp8; the real scales are then applied afterwards.
"""

import torch

from .activation import quantize_fp8
from .kernel import Kernel, Requirements

# tensor-wise: outputs of one pass, whose float32 epilogue takes 4 bytes each; passes are whole tiles of rows
TENSORWISE_VALUES, ROW_MULTIPLE = 1 << 25, 128


@torch.library.custom_op("x2v_quant::fp8_linear", mutates_args=())
def fp8_linear(
    x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, rowwise: bool
) -> torch.Tensor:
    """x [M, K] float, codes float8_e4m3fn [N, K], scale float32 [N, 1], bias [N] -> [M, N] in x.dtype.

    K and N are multiples of 16. The product leaves the matmul in bfloat16 (tensor-wise and float32 x: in float32): the
    raw tensor-wise accumulator reaches millions, which float16 cannot hold.
    """
    if x.shape[0] == 0:
        return x.new_empty((0, codes.shape[0]))
    quantized, token_scale = quantize_fp8(x)
    product = _rowwise if rowwise else _tensorwise
    return product(quantized, token_scale, codes, scale.view(1, -1), bias, x.dtype)


@fp8_linear.register_fake
def _(x, codes, scale, bias, rowwise):
    return x.new_empty((x.shape[0], codes.shape[0]))


def _rowwise(quantized, token_scale, codes, row_scale, bias, dtype):
    fused_bias = None if bias is None else bias.to(torch.bfloat16)
    y = torch._scaled_mm(
        quantized, codes.t(), scale_a=token_scale, scale_b=row_scale, bias=fused_bias, out_dtype=torch.bfloat16
    )
    return y.to(dtype)


def _tensorwise(quantized, token_scale, codes, row_scale, bias, dtype):
    one = torch.ones((), dtype=torch.float32, device=quantized.device)
    raw_dtype = torch.float32 if dtype == torch.float32 else torch.bfloat16
    offset = torch.zeros_like(row_scale) if bias is None else bias.to(torch.float32).view(1, -1)
    out = torch.empty((quantized.shape[0], codes.shape[0]), dtype=dtype, device=quantized.device)
    step = max(1, TENSORWISE_VALUES // codes.shape[0] // ROW_MULTIPLE) * ROW_MULTIPLE
    for row in range(0, out.shape[0], step):
        part = slice(row, row + step)
        raw = torch._scaled_mm(quantized[part], codes.t(), scale_a=one, scale_b=one, out_dtype=raw_dtype)
        out[part] = torch.addcmul(offset, raw * token_scale[part], row_scale)
    return out


def _row(rowwise: bool, summary: str) -> Kernel:
    def linear(x, codes, params, bias):
        return torch.ops.x2v_quant.fp8_linear(x, codes, params.scale, bias, rowwise)

    requires = Requirements("cuda", nvidia=True, min_capability=(8, 9), n_multiple=16, k_multiple=16)
    return Kernel("torch", ("fp8-channel",), linear, "fp8", summary, requires)


ROWS = (
    _row(True, "fp8 weights x fp8 activations (per-token), row-wise torch._scaled_mm"),
    _row(False, "fp8 weights x fp8 activations (per-token), tensor-wise torch._scaled_mm"),
)
