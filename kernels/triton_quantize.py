"""Per-token quantization of activations in one pass over x. Importing this needs triton.

The formulas are activation.py's, and so are the numbers, bit for bit.
"""

import torch
import triton
import triton.language as tl

from ..formats.fp8_block128 import BLOCK
from .activation import FP8_MAX, FP8_REDUCED_MAX, INT8_MAX, MIN_SCALE
from .triton_rotate import rotate, source_channels

# name of an activation -> (dtype of the codes, largest code)
CODES = {
    "int8": (torch.int8, INT8_MAX),
    "fp8": (torch.float8_e4m3fn, FP8_MAX),
    "fp8-reduced": (torch.float8_e4m3fn, FP8_REDUCED_MAX),
}
# channels that a program keeps in registers; a longer row is read twice
LONGEST_ROW = 16384
# values of one program: short rows share one
VALUES = 4096
FLOOR = tl.constexpr(MIN_SCALE)
# 1.5 * 2**23: adding it rounds to an integer, half to even, which the low bits of the sum then hold
ROUND = tl.constexpr(12582912.0)


@triton.jit
def _read(x_ptr, factor_ptr, offsets, channels, real, inside, GROUP: tl.constexpr):
    """The values [rows, channels] at x_ptr + offsets [rows, 1] + channels, smoothed, then rotated."""
    source = source_channels(channels, GROUP) if GROUP else channels
    values = tl.load(x_ptr + offsets + source[None, :], mask=real & inside[None, :], other=0.0).to(tl.float32)
    if factor_ptr is not None:
        values *= tl.load(factor_ptr + source, mask=inside, other=1.0).to(tl.float32)[None, :]
    return rotate(values, GROUP) if GROUP else values


@triton.jit
def _encode(values, scale, DTYPE: tl.constexpr):
    """values / scale as codes. The quotient is correctly rounded: one Newton step from the product with a correctly
    rounded reciprocal (Markstein's theorem), a fraction of what a division costs."""
    inverse = tl.div_rn(1.0, scale)
    guess = values * inverse
    scaled = tl.fma(tl.fma(-guess, scale, values), inverse, guess)
    if DTYPE.is_int8():
        return (scaled + ROUND).to(tl.int32, bitcast=True).to(tl.int8)
    else:
        return scaled.to(DTYPE)


@triton.jit(do_not_specialize=["M"])
def quantize_rows(
    x_ptr, factor_ptr, codes_ptr, scale_ptr, M, K, stride,
    LARGEST: tl.constexpr, GROUP: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """ROWS whole rows of x [M, K] per program, kept in registers: WIDTH >= K. GROUP: channels that are rotated
    together, 0 for none."""
    first = tl.program_id(0) * ROWS
    rows = tl.arange(0, ROWS)
    channels = tl.arange(0, WIDTH)
    inside = channels < K
    real = rows < M - first
    x_ptr += first.to(tl.int64) * stride
    codes_ptr += first.to(tl.int64) * K
    values = _read(x_ptr, factor_ptr, rows[:, None] * stride, channels, real[:, None], inside, GROUP)
    scale = tl.maximum(tl.div_rn(tl.max(tl.abs(values), axis=1), LARGEST), FLOOR)
    codes = _encode(values, scale[:, None], codes_ptr.dtype.element_ty)
    tl.store(codes_ptr + rows[:, None] * K + channels[None, :], codes, mask=real[:, None] & inside[None, :])
    tl.store(scale_ptr + first + rows, scale, mask=real)


@triton.jit
def quantize_long_row(
    x_ptr, factor_ptr, codes_ptr, scale_ptr, K, stride,
    LARGEST: tl.constexpr, GROUP: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One row per program, WIDTH channels at a time: once for the scale, once for the codes."""
    row = tl.program_id(0)
    x_ptr += row.to(tl.int64) * stride
    codes_ptr += row.to(tl.int64) * K
    amax = tl.zeros((1, WIDTH), tl.float32)
    for start in range(0, K, WIDTH):
        channels = start + tl.arange(0, WIDTH)
        inside = channels < K
        amax = tl.maximum(amax, tl.abs(_read(x_ptr, factor_ptr, 0, channels, True, inside, GROUP)))
    scale = tl.maximum(tl.div_rn(tl.max(amax), LARGEST), FLOOR)
    for start in range(0, K, WIDTH):
        channels = start + tl.arange(0, WIDTH)
        inside = channels < K
        values = _read(x_ptr, factor_ptr, 0, channels, True, inside, GROUP)
        codes = _encode(values, scale, codes_ptr.dtype.element_ty)
        tl.store(codes_ptr + channels[None, :], codes, mask=inside[None, :])
    tl.store(scale_ptr + row, scale)


@triton.jit(do_not_specialize=["M"])
def quantize_groups(
    x_ptr, codes_ptr, scale_ptr, M, K, stride, LARGEST: tl.constexpr, GROUPS: tl.constexpr, WIDTH: tl.constexpr
):
    """GROUPS groups of WIDTH channels per program, of one row or of neighbouring ones; the scales of one group of
    channels lie side by side, as the GEMM reads them: scale [ceil(K / WIDTH), M]."""
    count = tl.cdiv(K, WIDTH)
    pairs = tl.program_id(0) * GROUPS + tl.arange(0, GROUPS)
    rows = pairs // count
    groups = pairs % count
    first = tl.program_id(0) * GROUPS // count
    near = rows - first
    first = first.to(tl.int64)
    channels = groups[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :]
    mask = (rows < M)[:, None] & (channels < K)
    values = tl.load(x_ptr + first * stride + near[:, None] * stride + channels, mask=mask, other=0.0).to(tl.float32)
    scale = tl.maximum(tl.div_rn(tl.max(tl.abs(values), axis=1), LARGEST), FLOOR)
    codes = _encode(values, scale[:, None], codes_ptr.dtype.element_ty)
    tl.store(codes_ptr + first * K + near[:, None] * K + channels, codes, mask=mask)
    tl.store(scale_ptr + groups.to(tl.int64) * M + rows, scale, mask=rows < M)


def quantize_tokens(
    x: torch.Tensor, activation: str, pre_quant_scale: torch.Tensor | None = None, rotation: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] float (M > 0), `activation` a name in CODES, pre_quant_scale [K] float, which multiplies x before
    anything else; rotation: a power of 4 that divides K, channels that are rotated together behind it, 0 for none ->
    codes [M, K], scale float32 [M, 1]."""
    dtype, largest = CODES[activation]
    x = x if x.stride(1) == 1 else x.contiguous()
    M, K = x.shape
    codes = torch.empty((M, K), dtype=dtype, device=x.device)
    scale = torch.empty((M, 1), dtype=torch.float32, device=x.device)
    with torch.cuda.device_of(x):
        if K > LONGEST_ROW:
            quantize_long_row[(M,)](
                x, pre_quant_scale, codes, scale, K, x.stride(0),
                LARGEST=largest, GROUP=rotation, WIDTH=LONGEST_ROW // 2, num_warps=8,
            )  # fmt: skip
        else:
            width = triton.next_power_of_2(K)
            rows = max(1, VALUES // width)
            quantize_rows[(triton.cdiv(M, rows),)](
                x, pre_quant_scale, codes, scale, M, K, x.stride(0),
                LARGEST=largest, GROUP=rotation, ROWS=rows, WIDTH=width, num_warps=16 if width == LONGEST_ROW else 8,
            )  # fmt: skip
    return codes, scale


def quantize_token_groups(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] float (M > 0) -> codes float8_e4m3fn [M, K], scale float32 [ceil(K / 128), M]."""
    dtype, largest = CODES["fp8"]
    x = x if x.stride(1) == 1 else x.contiguous()
    M, K = x.shape
    count = triton.cdiv(K, BLOCK)
    codes = torch.empty((M, K), dtype=dtype, device=x.device)
    scale = torch.empty((count, M), dtype=torch.float32, device=x.device)
    groups = VALUES // BLOCK
    with torch.cuda.device_of(x):
        quantize_groups[(triton.cdiv(M * count, groups),)](
            x, codes, scale, M, K, x.stride(0), LARGEST=largest, GROUPS=groups, WIDTH=BLOCK, num_warps=8
        )
    return codes, scale
