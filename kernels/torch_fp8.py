"""fp8 W8A8 by torch's own matmuls: torch._scaled_mm, and torch.nn.functional.scaled_mm for blocks.

Row-wise scaling needs a build and a GPU that have it (not Windows, not every RTX 50 build), so the probe decides.
Tensor-wise scaling with unit scales works on every GPU with fp8; the real scales are then applied afterwards. Scales of
blocks are cuBLAS's, on Hopper alone.
"""

import torch

from ..formats.fp8_block128 import BLOCK
from . import quantizers
from .activation import quantize_fp8_static
from .adapter import MULTIPLY_SCHEMA, multiplied_like
from .kernel import Kernel, Requirements, Steps

# tensor-wise: outputs of one pass, whose float32 epilogue takes 4 bytes each; passes are whole tiles of rows
TENSORWISE_VALUES, ROW_MULTIPLE = 1 << 25, 128
# blocks: cuBLAS reads scales four at a time
SCALE_ROWS = 4


# the one type, of bias and product, that torch multiplies with a scale for each row into
ROWWISE_OUTPUT = torch.bfloat16


@torch.library.custom_op("x2v_quant::fp8_linear", mutates_args=())
def fp8_linear(
    x: torch.Tensor,
    codes: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    rowwise: bool,
    pre_quant_scale: torch.Tensor | None = None,
) -> torch.Tensor:
    """x [M, K] float, codes float8_e4m3fn [N, K], scale float32 [N, 1], bias [N], pre_quant_scale float32 [K], which
    multiplies x before it is quantized -> [M, N] in x.dtype.

    K and N are multiples of 16. The product leaves the matmul in bfloat16 (tensor-wise and float32 x: in float32): the
    raw tensor-wise accumulator reaches millions, which float16 cannot hold.
    """
    if x.shape[0] == 0:
        return x.new_empty((0, codes.shape[0]))
    quantized, token_scale = quantizers.per_token(x, "fp8", pre_quant_scale=pre_quant_scale)
    return PRODUCTS[rowwise](quantized, token_scale, codes, scale.view(1, -1), bias, x.dtype)


@fp8_linear.register_fake
def _(x, codes, scale, bias, rowwise, pre_quant_scale=None):
    return x.new_empty((x.shape[0], codes.shape[0]))


def _rowwise(quantized, token_scale, codes, row_scale, bias, dtype):
    fused_bias = None if bias is None else bias.to(ROWWISE_OUTPUT)
    y = torch._scaled_mm(
        quantized, codes.t(), scale_a=token_scale, scale_b=row_scale, bias=fused_bias, out_dtype=ROWWISE_OUTPUT
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


PRODUCTS = {True: _rowwise, False: _tensorwise}


def _multiply_op(rowwise: bool):
    def run(quantized, token_scale, rows, dtype, codes, scale, bias):
        return PRODUCTS[rowwise](quantized, token_scale, codes, scale.view(1, -1), bias, dtype)

    name = f"x2v_quant::fp8_multiply_{'rowwise' if rowwise else 'tensorwise'}"
    op = torch.library.custom_op(name, run, mutates_args=(), schema=MULTIPLY_SCHEMA)
    op.register_fake(multiplied_like)
    return lambda given, rows, dtype, codes, params, bias: op(*given, rows, dtype, codes, params.scale, bias)


@torch.library.custom_op("x2v_quant::fp8_tensor_linear", mutates_args=())
def fp8_tensor_linear(
    x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, input_scale: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """x [M, K] float, codes float8_e4m3fn [N, K], scale float32 [1, 1] or [N, 1], input_scale float32 [1], or [0] for
    max|x| / 448, bias [N] -> [M, N] in x.dtype. K and N are multiples of 16."""
    if x.shape[0] == 0:
        return x.new_empty((0, codes.shape[0]))
    return _tensor_product(*quantize_fp8_static(x, input_scale), codes, scale, bias, x.dtype)


def _tensor_product(quantized, token_scale, codes, scale, bias, dtype):
    if scale.numel() > 1:
        token_scale = token_scale.view(1, 1).expand(quantized.shape[0], 1)
        return _tensorwise(quantized, token_scale, codes, scale.view(1, -1), bias, dtype)
    # torch fuses a 16-bit bias into a 16-bit output only
    fused = bias is not None and dtype != torch.float32
    y = torch._scaled_mm(
        quantized,
        codes.t(),
        scale_a=token_scale.view(()),
        scale_b=scale.view(()),
        bias=bias.to(dtype) if fused else None,
        out_dtype=dtype,
    )
    return y if bias is None or fused else y.add_(bias)


@torch.library.custom_op("x2v_quant::quantize_static", mutates_args=())
def quantize_static(x: torch.Tensor, input_scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`quantize_fp8_static`, in a graph; the scale is a copy."""
    codes, scale = quantize_fp8_static(x, input_scale)
    return codes, scale.clone() if scale is input_scale else scale


@quantize_static.register_fake
def _(x, input_scale):
    return x.new_empty(x.shape, dtype=torch.float8_e4m3fn), x.new_empty((1,), dtype=torch.float32)


@torch.library.custom_op("x2v_quant::fp8_tensor_multiply", mutates_args=(), schema=MULTIPLY_SCHEMA)
def fp8_tensor_multiply(quantized, token_scale, rows, dtype, codes, scale, bias):
    """`fp8_tensor_linear` of activations that are quantized already."""
    return _tensor_product(quantized, token_scale, codes, scale, bias, dtype)


fp8_tensor_multiply.register_fake(multiplied_like)


@fp8_tensor_linear.register_fake
def _(x, codes, scale, input_scale, bias):
    return x.new_empty((x.shape[0], codes.shape[0]))


@torch.library.custom_op("x2v_quant::fp8_block128_linear", mutates_args=())
def fp8_block128_linear(
    x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """x [M, K] float, codes float8_e4m3fn [N, K], scale float32 [N / 128, K / 128], bias [N] -> [M, N] in x.dtype.

    K and N are multiples of 128. The scales go to cuBLAS with channels innermost: of tokens [M, K / 128] with strides
    (1, M), of blocks [K / 128 rounded up to 4, N / 128] column-major; rows of tokens come in fours (ScaledBlas.cpp).
    """
    rows = x.shape[0]
    if rows == 0:
        return x.new_empty((0, codes.shape[0]))
    return _block128_product(*quantizers.per_token_groups(x, pad_rows=SCALE_ROWS), rows, x.dtype, codes, scale, bias)


@torch.library.custom_op("x2v_quant::fp8_block128_multiply", mutates_args=(), schema=MULTIPLY_SCHEMA)
def fp8_block128_multiply(quantized, token_scale, rows, dtype, codes, scale, bias):
    """`fp8_block128_linear` of activations that are quantized already."""
    return _block128_product(quantized, token_scale, rows, dtype, codes, scale, bias)


fp8_block128_multiply.register_fake(multiplied_like)


def _block128_product(quantized, token_scale, rows, dtype, codes, scale, bias):
    scaling = torch.nn.functional.ScalingType
    y = torch.nn.functional.scaled_mm(
        quantized,
        codes.t(),
        token_scale,
        scaling.BlockWise1x128,
        torch.nn.functional.pad(scale, (0, -scale.shape[1] % SCALE_ROWS)).t(),
        scaling.BlockWise128x128,
        output_dtype=torch.bfloat16 if dtype == torch.bfloat16 else torch.float32,
    )[:rows]
    return (y if bias is None else y.add_(bias)).to(dtype)


@fp8_block128_linear.register_fake
def _(x, codes, scale, bias):
    return x.new_empty((x.shape[0], codes.shape[0]))


def _channel_row(rowwise: bool, summary: str) -> Kernel:
    def linear(x, codes, params, bias):
        return torch.ops.x2v_quant.fp8_linear(x, codes, params.scale, bias, rowwise)

    def smooth_linear(x, codes, params, bias):
        return torch.ops.x2v_quant.fp8_linear(x, codes, params.scale, bias, rowwise, params.pre_quant_scale)

    multiply = _multiply_op(rowwise)
    return Kernel(
        "torch",
        ("fp8-channel",),
        linear,
        "fp8",
        summary,
        MULTIPLES_OF_16,
        smooth_linear,
        Steps(quantizers.tokens("fp8"), multiply),
        Steps(quantizers.smooth_tokens("fp8"), multiply, ("pre_quant_scale",)),
    )


def _tensor(x, codes, params, bias):
    return torch.ops.x2v_quant.fp8_tensor_linear(x, codes, params.scale, params.input_scale, bias)


def _block128(x, codes, params, bias):
    return torch.ops.x2v_quant.fp8_block128_linear(x, codes, params.scale, bias)


def _tensor_steps() -> Steps:
    def quantize(x, params):
        return torch.ops.x2v_quant.quantize_static(x, params.input_scale)

    def multiply(given, rows, dtype, codes, params, bias):
        return torch.ops.x2v_quant.fp8_tensor_multiply(*given, rows, dtype, codes, params.scale, bias)

    return Steps(quantize, multiply, ("input_scale",))


def _block128_multiply(given, rows, dtype, codes, params, bias):
    return torch.ops.x2v_quant.fp8_block128_multiply(*given, rows, dtype, codes, params.scale, bias)


MULTIPLES_OF_16 = Requirements("cuda", nvidia=True, min_capability=(8, 9), n_multiple=16, k_multiple=16)

ROWS = (
    _channel_row(True, "fp8 weights x fp8 activations (per-token), row-wise torch._scaled_mm"),
    _channel_row(False, "fp8 weights x fp8 activations (per-token), tensor-wise torch._scaled_mm"),
    Kernel(
        "torch",
        ("fp8-tensor",),
        _tensor,
        "fp8-static",
        "fp8 weights x fp8 activations (one static scale), tensor-wise torch._scaled_mm",
        MULTIPLES_OF_16,
        steps=_tensor_steps(),
    ),
    Kernel(
        "torch",
        ("fp8-block128",),
        _block128,
        "fp8-group128",
        "fp8 weights (128 x 128) x fp8 activations (per token and 128 channels), torch's scaled_mm",
        Requirements(
            "cuda",
            nvidia=True,
            min_capability=(9, 0),
            max_capability=(9, 0),
            n_multiple=BLOCK,
            k_multiple=BLOCK,
        ),
        steps=Steps(quantizers.token_groups(SCALE_ROWS), _block128_multiply),
    ),
)
