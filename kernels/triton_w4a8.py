"""w4a8's 4-bit codes as int8 levels, in the GEMM that multiplies them or before it. Importing this needs triton.

Few tokens read every weight once: the GEMM takes 4.5 bits of each from memory. Many tokens would spread every weight
out once per tile of tokens: the layer's levels are written out first, and the int8 GEMM multiplies them.
"""

import torch
import triton
import triton.language as tl

from ..formats import w4a8_codes
from .triton_gemm import scaled_product
from .triton_program import programs, store_tile, tile_origin
from .triton_quantize import ROUND
from .triton_tiles import tile_for
from .triton_weight_only import E4M3_FROM_HALF, _from_e4m3

# bytes of codes that share a scale
GROUP_BYTES = tl.constexpr(w4a8_codes.GROUP // w4a8_codes.PER_BYTE)
LARGEST = tl.constexpr(w4a8_codes.LARGEST)
# the widest tile of tokens; up to it the codes are spread out in the GEMM
FEW_TOKENS = 64
# bytes of codes that a program spreads out
STEP = 4096


@triton.jit
def _level(codes, scale, codebook_ptr):
    """round(codebook[code] * scale), half to even, clamped to +-127. The clamp between product and sum keeps them from
    becoming one instruction that rounds once."""
    value = tl.load(codebook_ptr + codes) * scale
    value = tl.minimum(tl.maximum(value, -LARGEST), LARGEST)
    return (value + ROUND).to(tl.int32, bitcast=True).to(tl.int8)


@triton.jit
def _levels(packed, scale_bytes, codebook_ptr):
    """Bytes of codes and the byte of each one's scale -> int8 levels of their low and their high nibbles."""
    scale = _from_e4m3(scale_bytes, tl.float32) * E4M3_FROM_HALF
    codes = packed.to(tl.int32)
    return _level(codes & 0xF, scale, codebook_ptr), _level(codes >> 4, scale, codebook_ptr)


@triton.jit
def spread_out(codes_ptr, scale_ptr, codebook_ptr, out_ptr, COUNT, STEP: tl.constexpr):
    """codes uint8, COUNT of them, and a scale for GROUP_BYTES neighbours -> int8, two for a byte."""
    at = tl.program_id(0).to(tl.int64) * STEP + tl.arange(0, STEP)
    inside = at < COUNT
    packed = tl.load(codes_ptr + at, mask=inside, other=0)
    scale = tl.load(scale_ptr + at // GROUP_BYTES, mask=inside, other=0)
    low, high = _levels(packed, scale, codebook_ptr)
    first = tl.program_id(0).to(tl.int64) * (2 * STEP)
    both = tl.arange(0, 2 * STEP)
    tl.store(out_ptr + first + both, tl.interleave(low, high), mask=first + both < 2 * COUNT)


@triton.jit(do_not_specialize=["M"])
def w4a8_gemm(
    x_ptr, codes_ptr, token_scale_ptr, scale_ptr, s_channel_ptr, codebook_ptr, bias_ptr, out_ptr, M, N, K,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, EVEN_K: tl.constexpr,
):  # fmt: skip
    """x int8 [M, K]; codes uint8 [N, K / 2], low nibble first; scale uint8 [N, K / 16], the bits of e4m3."""
    row, column = tile_origin(M, N, BLOCK_M, BLOCK_N)
    rows = tl.minimum(tl.arange(0, BLOCK_M), M - 1 - row)
    columns = tl.minimum(tl.arange(0, BLOCK_N), N - 1 - column)
    channels = tl.arange(0, BLOCK_K)
    pairs = tl.arange(0, BLOCK_K // 2)
    width = K // 2
    x_at = x_ptr + row.to(tl.int64) * K + rows[:, None] * K + channels[None, :]
    codes_at = codes_ptr + column.to(tl.int64) * width + columns[:, None] * width + pairs[None, :]
    groups = width // GROUP_BYTES
    scale_at = scale_ptr + column.to(tl.int64) * groups + columns[:, None] * groups + (pairs // GROUP_BYTES)[None, :]
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.int32)
    for start in range(0, K, BLOCK_K):
        if EVEN_K:
            x = tl.load(x_at)
            packed = tl.load(codes_at)
            scale = tl.load(scale_at)
        else:
            x = tl.load(x_at, mask=(channels < K - start)[None, :], other=0)
            inside = (pairs < (K - start) // 2)[None, :]
            packed = tl.load(codes_at, mask=inside, other=0)
            scale = tl.load(scale_at, mask=inside, other=0)
        low, high = _levels(packed, scale, codebook_ptr)
        weight = tl.join(low, high).reshape(BLOCK_N, BLOCK_K)
        total = tl.dot(x, tl.trans(weight), total, out_dtype=tl.int32)
        x_at += BLOCK_K
        codes_at += BLOCK_K // 2
        scale_at += BLOCK_K // 2 // GROUP_BYTES
    token_scale = tl.load(token_scale_ptr + row + rows)
    s_channel = tl.load(s_channel_ptr + column + columns)
    values = total.to(tl.float32) * token_scale[:, None] * s_channel[None, :]
    store_tile(values, bias_ptr, out_ptr, row, column, M, N, BLOCK_M, BLOCK_N)


def levels(codes: torch.Tensor, scale: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """As w4a8_codes.levels, with codes and scale as uint8: int8 [N, K]."""
    out = torch.empty((codes.shape[0], codes.shape[1] * 2), dtype=torch.int8, device=codes.device)
    with torch.cuda.device_of(out):
        spread_out[(triton.cdiv(codes.numel(), STEP),)](codes, scale, codebook, out, codes.numel(), STEP=STEP)
    return out


def w4a8_product(
    quantized: torch.Tensor,
    token_scale: torch.Tensor,
    codes: torch.Tensor,
    scale: torch.Tensor,
    s_channel: torch.Tensor,
    codebook: torch.Tensor,
    bias: torch.Tensor | None,
    dtype: torch.dtype,
) -> torch.Tensor:
    """quantized int8 [M, K], token_scale float32 [M, 1], M > 0; codes and scale as uint8, the rest as w4a8_codes has
    them, contiguous; bias float [N] -> [M, N] in `dtype`."""
    (M, K), N = quantized.shape, codes.shape[0]
    if M > FEW_TOKENS:
        spread = levels(codes, scale, codebook)
        return scaled_product(quantized, token_scale, spread, s_channel, bias, dtype, "int8")
    out = torch.empty((M, N), dtype=dtype, device=quantized.device)
    tile = tile_for("w4a8", M, quantized.device)
    with torch.cuda.device_of(out):
        w4a8_gemm[programs(M, N, tile)](
            quantized, codes, token_scale, scale, s_channel, codebook, bias, out, M, N, K,
            EVEN_K=K % tile.k == 0, **tile.arguments(),
        )  # fmt: skip
    return out
