"""int8 W8A8 by torch's own matmul: per-token activations, torch._int_mm, scales and bias afterwards."""

from functools import partial

import torch

from ..formats import ROTATED
from . import quantizers
from .activation import quantize_int8
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


@torch.library.custom_op("x2v_quant::int8_convrot_linear", mutates_args=())
def int8_convrot_linear(
    x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, group: int
) -> torch.Tensor:
    """`int8_linear` of x whose groups of so many channels are rotated in float32 before they are quantized, as those of
    the codes were."""
    rows, columns = x.shape[0], codes.shape[0]
    if rows * columns == 0:
        return x.new_empty((rows, columns))
    given = quantize_int8(x, _row_multiple(x), rotation=group)
    return _multiply(*given, rows, x.dtype, codes, scale, bias)


@torch.library.custom_op("x2v_quant::quantize_rotated_tokens", mutates_args=())
def quantize_rotated_tokens(x: torch.Tensor, pad_rows: int, group: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first step of `int8_convrot_linear`."""
    return quantize_int8(x, pad_rows, rotation=group)


@quantize_rotated_tokens.register_fake
def _(x, pad_rows, group):
    return quantizers.tokens_like(x, torch.int8, pad_rows)


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


@int8_convrot_linear.register_fake
def _(x, codes, scale, bias, group):
    return x.new_empty((x.shape[0], codes.shape[0]))


@int8_linear.register_fake
def _(x, codes, scale, bias, pre_quant_scale=None):
    return x.new_empty((x.shape[0], codes.shape[0]))


def _linear(x, codes, params, bias):
    return torch.ops.x2v_quant.int8_linear(x, codes, params.scale, bias)


def _smooth_linear(x, codes, params, bias):
    return torch.ops.x2v_quant.int8_linear(x, codes, params.scale, bias, params.pre_quant_scale)


def _convrot_linear(x, codes, params, bias):
    return torch.ops.x2v_quant.int8_convrot_linear(x, codes, params.scale, bias, params.convrot_groupsize)


def _quantized(x, params):
    return torch.ops.x2v_quant.quantize_tokens(x, "int8", _row_multiple(x))


def _quantized_smooth(x, params):
    return torch.ops.x2v_quant.quantize_tokens(x, "int8", _row_multiple(x), params.pre_quant_scale)


def _quantized_rotated(group, x, params):
    return torch.ops.x2v_quant.quantize_rotated_tokens(x, _row_multiple(x), group)


def _multiplied(given, rows, dtype, codes, params, bias):
    return torch.ops.x2v_quant.int8_multiply(*given, rows, dtype, codes, params.scale, bias)


STEPS = Steps(_quantized, _multiplied)
SMOOTH_STEPS = Steps(_quantized_smooth, _multiplied, reads=("pre_quant_scale",))
# layers share an input only if they rotate it alike
CONVROT_STEPS = {name: Steps(partial(_quantized_rotated, group), _multiplied) for group, name in ROTATED.items()}

_SUMMARY = "int8 weights x int8 activations (per-token), int32 accumulation, torch._int_mm"

CPU = Requirements(kind="cpu", vnni=True)
GPU = Requirements(kind="cuda", min_capability=(7, 5), n_multiple=8, k_multiple=8)
ROWS = (
    *(
        Kernel(
            "torch",
            ("int8-channel",),
            _linear,
            "int8",
            _SUMMARY,
            requires,
            smooth_linear=_smooth_linear,
            steps=STEPS,
            smooth_steps=SMOOTH_STEPS,
        )
        for requires in (CPU, GPU)
    ),
    *(
        Kernel("torch", (name,), _convrot_linear, name, f"{_SUMMARY}, rotated", requires, steps=CONVROT_STEPS[name])
        for requires in (CPU, GPU)
        for name in ROTATED.values()
    ),
)
