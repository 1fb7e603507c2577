"""int8 W8A8 by torch's own matmul: per-token activations, torch._int_mm, scales and bias afterwards."""

import torch

from . import quantizers
from .adapter import MULTIPLY_SCHEMA, multiplied_like
from .kernel import Kernel, Requirements, Steps

# CPU: columns of one pass and rows of its epilogue: few enough to stay in cache, enough that threads seldom wait.
# Each pass reads the activation codes again, so passes are short only where those fit into a core's cache.
CPU_COLUMNS, CPU_ROWS = 2048, 512
SHORT_CPU_COLUMNS, CPU_CACHE = 512, 1 << 21
# GPU: torch._int_mm wants more than 16 rows; accumulators of one pass are at most 4 * GPU_ACCUMULATORS bytes
GPU_ROW_MULTIPLE, GPU_ACCUMULATORS = 32, 1 << 25


@torch.library.custom_op("x2v_quant::int8_linear", mutates_args=())
def int8_linear(
    x: torch.Tensor,
    codes: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    pre_quant_scale: torch.Tensor | None = None,
) -> torch.Tensor:
    """x [M, K] float, codes int8 [N, K], scale float32 [N, 1], bias [N], pre_quant_scale float32 [K], which multiplies
    x before it is quantized -> [M, N] in x.dtype.

    y = (xq @ codes^T) * x_scale * scale^T + bias, int32 accumulation, float32 epilogue.
    """
    rows, columns = x.shape[0], codes.shape[0]
    if rows * columns == 0:
        return x.new_empty((rows, columns))
    given = quantizers.per_token(x, "int8", _row_multiple(x), pre_quant_scale)
    return _multiply(*given, rows, x.dtype, codes, scale, bias)


@torch.library.custom_op("x2v_quant::int8_multiply", mutates_args=(), schema=MULTIPLY_SCHEMA)
def int8_multiply(quantized, token_scale, rows, dtype, codes, scale, bias):
    """`int8_linear` of activations that are quantized already."""
    return _multiply(quantized, token_scale, rows, dtype, codes, scale, bias)


int8_multiply.register_fake(multiplied_like)


def _row_multiple(x):
    return 1 if x.device.type == "cpu" else GPU_ROW_MULTIPLE


def _multiply(quantized, token_scale, rows, dtype, codes, scale, bias):
    columns = codes.shape[0]
    out = torch.empty((rows, columns), dtype=dtype, device=codes.device)
    row_scale = scale.view(1, -1)
    offset = torch.zeros_like(row_scale) if bias is None else bias.to(torch.float32).view(1, -1)
    if codes.device.type == "cpu":
        step = SHORT_CPU_COLUMNS if quantized.numel() <= CPU_CACHE else CPU_COLUMNS
        for column in range(0, columns, step):
            part = slice(column, column + step)
            accumulators = torch._int_mm(quantized, codes[part].t())
            for row in range(0, rows, CPU_ROWS):
                block = slice(row, row + CPU_ROWS)
                _epilogue(
                    accumulators[block], token_scale[block], row_scale[:, part], offset[:, part], out[block, part]
                )
        return out
    step = max(1, GPU_ACCUMULATORS // columns // GPU_ROW_MULTIPLE) * GPU_ROW_MULTIPLE
    for row in range(0, rows, step):
        accumulators = torch._int_mm(quantized[row : row + step], codes.t())
        target = out[row : row + step]
        count = target.shape[0]
        _epilogue(accumulators[:count], token_scale[row : row + count], row_scale, offset, target)
    return out


def _epilogue(accumulators, token_scale, row_scale, offset, out):
    """out = accumulators * token_scale * row_scale + offset, in float32, rounded once."""
    values = accumulators * token_scale
    if out.dtype == torch.float32:
        torch.addcmul(offset, values, row_scale, out=out)
    else:
        out.copy_(torch.addcmul(offset, values, row_scale, out=values))


@int8_linear.register_fake
def _(x, codes, scale, bias, pre_quant_scale=None):
    return x.new_empty((x.shape[0], codes.shape[0]))


def _linear(x, codes, params, bias):
    return torch.ops.x2v_quant.int8_linear(x, codes, params.scale, bias)


def _smooth_linear(x, codes, params, bias):
    return torch.ops.x2v_quant.int8_linear(x, codes, params.scale, bias, params.pre_quant_scale)


def _steps(factor):
    def quantize(x, params):
        return torch.ops.x2v_quant.quantize_tokens(x, "int8", _row_multiple(x), factor(params))

    def multiply(given, rows, dtype, codes, params, bias):
        return torch.ops.x2v_quant.int8_multiply(*given, rows, dtype, codes, params.scale, bias)

    return quantize, multiply


STEPS = Steps(*_steps(lambda params: None))
SMOOTH_STEPS = Steps(*_steps(lambda params: params.pre_quant_scale), reads=("pre_quant_scale",))

_SUMMARY = "int8 weights x int8 activations (per-token), int32 accumulation, torch._int_mm"

ROWS = (
    Kernel(
        "torch",
        ("int8-channel",),
        _linear,
        "int8",
        _SUMMARY,
        Requirements(kind="cpu", vnni=True),
        smooth_linear=_smooth_linear,
        steps=STEPS,
        smooth_steps=SMOOTH_STEPS,
    ),
    Kernel(
        "torch",
        ("int8-channel",),
        _linear,
        "int8",
        _SUMMARY,
        Requirements(kind="cuda", min_capability=(7, 5), n_multiple=8, k_multiple=8),
        smooth_linear=_smooth_linear,
        steps=STEPS,
        smooth_steps=SMOOTH_STEPS,
    ),
)
