"""GEMMs of codes with a power of two (e8m0) per 32 channels, which tensor cores multiply by the scales themselves, and
the quantizers of their activations. Importing this needs triton.

mxfp4 is multiplied as it is. Triton takes no codes of 6 bits: those of mxfp6 become e4m3 in registers, whose exponent's
bias is 4 larger, so that they are their values / 16.
"""

import torch
import triton
import triton.language as tl

from ..formats import mx
from .triton_program import programs, store_tile, tile_origin
from .triton_tiles import tile_for

BLOCK = tl.constexpr(mx.BLOCK)
SMALLEST = tl.constexpr(mx.SMALLEST)
E4M3_FROM_E3M2 = tl.constexpr(16.0)
# float32's bits, and 1.5 * 2**23: adding it rounds to an integer, half to even, which the sum's low bits then have
MANTISSA, BIAS, ROUND, ROUND_BITS = tl.constexpr(23), tl.constexpr(127), tl.constexpr(12582912.0), tl.constexpr(0xFFFF)
# what is added to the bits of a maximum whose exponent is then the scale's, and the largest exponent of a code: e2m1's
# maximum is rounded to a code (formats/mx.py), e4m3's scale is rounded up, as core's is
E2M1_CARRY, E2M1_LARGEST = tl.constexpr(1 << 21), tl.constexpr(2)
E4M3_CARRY, E4M3_LARGEST = tl.constexpr((1 << 21) - 1), tl.constexpr(8)
# blocks of one program of a quantizer
BLOCKS = 128


@triton.jit
def _read_blocks(x_ptr, scale_ptr, count, BLOCKS: tl.constexpr, CARRY: tl.constexpr, LARGEST: tl.constexpr):
    """This program's blocks of x, divided by their scales, which are stored: (values [BLOCKS, 32], first block, mask of
    its blocks)."""
    first = tl.program_id(0).to(tl.int64) * BLOCKS
    blocks = tl.arange(0, BLOCKS)
    inside = blocks < count - first
    at = x_ptr + first * BLOCK + blocks[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    values = tl.load(at, mask=inside[:, None], other=0.0).to(tl.float32)
    largest = tl.max(tl.abs(values), axis=1).to(tl.int32, bitcast=True)
    scale = tl.maximum(((largest + CARRY) >> MANTISSA) - LARGEST, SMALLEST)
    tl.store(scale_ptr + first + blocks, scale.to(tl.uint8), mask=inside)
    inverse = ((-scale + 2 * BIAS) << MANTISSA).to(tl.float32, bitcast=True)
    return values * inverse[:, None], first, inside


@triton.jit(do_not_specialize=["count"])
def quantize_e4m3(x_ptr, codes_ptr, scale_ptr, count, BLOCKS: tl.constexpr):
    """x, `count` blocks of 32 -> codes e4m3 in their order, a scale per block."""
    values, first, inside = _read_blocks(x_ptr, scale_ptr, count, BLOCKS, E4M3_CARRY, E4M3_LARGEST)
    at = codes_ptr + first * BLOCK + tl.arange(0, BLOCKS)[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]
    tl.store(at, values.to(codes_ptr.dtype.element_ty), mask=inside[:, None])


@triton.jit(do_not_specialize=["count"])
def quantize_e2m1(x_ptr, codes_ptr, scale_ptr, count, BLOCKS: tl.constexpr):
    """x, `count` blocks of 32 -> codes e2m1, the first of two in the low nibble, a scale per block."""
    values, first, inside = _read_blocks(x_ptr, scale_ptr, count, BLOCKS, E2M1_CARRY, E2M1_LARGEST)
    size = tl.minimum(tl.abs(values), 6.0)
    # steps of a half up to 2, of the exponent's half above
    exponent = tl.maximum(size.to(tl.int32, bitcast=True) >> MANTISSA, BIAS)
    steps = size * ((-exponent + 2 * BIAS + 1) << MANTISSA).to(tl.float32, bitcast=True)
    codes = ((exponent - BIAS) << 1) + ((steps + ROUND).to(tl.int32, bitcast=True) & ROUND_BITS)
    codes |= (values.to(tl.int32, bitcast=True) >> 28) & 8
    low, high = tl.split(codes.reshape(BLOCKS, BLOCK // 2, 2))
    at = codes_ptr + first * (BLOCK // 2) + tl.arange(0, BLOCKS)[:, None] * (BLOCK // 2)
    tl.store(at + tl.arange(0, BLOCK // 2)[None, :], (low | high << 4).to(tl.uint8), mask=inside[:, None])


@triton.jit(do_not_specialize=["M"])
def mxfp4_gemm(
    x_ptr, token_scale_ptr, codes_ptr, scale_ptr, bias_ptr, out_ptr, M, N, K, stride,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, EVEN_K: tl.constexpr,
):  # fmt: skip
    """x uint8 [M, K / 2], codes uint8 [N, K / 2], rows `stride` bytes apart; their scales [M, K / 32], [N, K / 32]."""
    row, column = tile_origin(M, N, BLOCK_M, BLOCK_N)
    rows = tl.minimum(tl.arange(0, BLOCK_M), M - 1 - row)
    columns = tl.minimum(tl.arange(0, BLOCK_N), N - 1 - column)
    pairs = tl.arange(0, BLOCK_K // 2)
    blocks = tl.arange(0, BLOCK_K // BLOCK)
    x_at = x_ptr + row.to(tl.int64) * stride + rows[:, None] * stride + pairs[None, :]
    codes_at = codes_ptr + column.to(tl.int64) * stride + columns[None, :] * stride + pairs[:, None]
    token_scale_at = token_scale_ptr + (row + rows)[:, None] * (K // BLOCK) + blocks[None, :]
    scale_at = scale_ptr + (column + columns)[:, None] * (K // BLOCK) + blocks[None, :]
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in range(0, K, BLOCK_K):
        if EVEN_K:
            x = tl.load(x_at)
            codes = tl.load(codes_at)
            token_scale = tl.load(token_scale_at)
            scale = tl.load(scale_at)
        else:
            inside = pairs < (K - start) // 2
            whole = (blocks < (K - start) // BLOCK)[None, :]
            x = tl.load(x_at, mask=inside[None, :], other=0)
            codes = tl.load(codes_at, mask=inside[:, None], other=0)
            token_scale = tl.load(token_scale_at, mask=whole, other=0)
            scale = tl.load(scale_at, mask=whole, other=0)
        total = tl.dot_scaled(x, token_scale, "e2m1", codes, scale, "e2m1", total)
        x_at += BLOCK_K // 2
        codes_at += BLOCK_K // 2
        token_scale_at += BLOCK_K // BLOCK
        scale_at += BLOCK_K // BLOCK
    store_tile(total, bias_ptr, out_ptr, row, column, M, N, BLOCK_M, BLOCK_N)


@triton.jit
def _e4m3(low, high):
    """uint8 [N, K / 2] of low nibbles and [N, K / 4] of pairs of high bits -> e3m2 codes as e4m3 [N, K]: the same bits,
    a zero between sign and exponent and one at the end."""
    nibbles = tl.join(low & 0xF, low >> 4).reshape(low.shape[0], 2 * low.shape[1])
    pairs = tl.join(tl.join(high & 3, high >> 4 & 3), tl.join(high >> 2 & 3, high >> 6))
    pairs = pairs.reshape(high.shape[0], 4 * high.shape[1])
    return (nibbles << 1 | (pairs & 1) << 5 | (pairs & 2) << 6).to(tl.float8e4nv, bitcast=True)


@triton.jit(do_not_specialize=["M"])
def mxfp6_gemm(
    x_ptr, token_scale_ptr, codes_ptr, scale_ptr, bias_ptr, out_ptr, M, N, K, stride,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, EVEN_K: tl.constexpr,
):  # fmt: skip
    """x e4m3 [M, K]; codes uint8 [N, 3 K / 4] as formats/mx.py has them, rows `stride` bytes apart; the scales as in
    `mxfp4_gemm`."""
    row, column = tile_origin(M, N, BLOCK_M, BLOCK_N)
    rows = tl.minimum(tl.arange(0, BLOCK_M), M - 1 - row)
    columns = tl.minimum(tl.arange(0, BLOCK_N), N - 1 - column)
    channels = tl.arange(0, BLOCK_K)
    pairs = tl.arange(0, BLOCK_K // 2)
    fours = tl.arange(0, BLOCK_K // 4)
    blocks = tl.arange(0, BLOCK_K // BLOCK)
    x_at = x_ptr + row.to(tl.int64) * K + rows[:, None] * K + channels[None, :]
    codes_at = codes_ptr + column.to(tl.int64) * stride + columns[:, None] * stride
    low_at = codes_at + pairs[None, :]
    high_at = codes_at + K // 2 + fours[None, :]
    token_scale_at = token_scale_ptr + (row + rows)[:, None] * (K // BLOCK) + blocks[None, :]
    scale_at = scale_ptr + (column + columns)[:, None] * (K // BLOCK) + blocks[None, :]
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in range(0, K, BLOCK_K):
        if EVEN_K:
            x = tl.load(x_at)
            low = tl.load(low_at)
            high = tl.load(high_at)
            token_scale = tl.load(token_scale_at)
            scale = tl.load(scale_at)
        else:
            left = K - start
            whole = (blocks < left // BLOCK)[None, :]
            x = tl.load(x_at, mask=(channels < left)[None, :], other=0.0)
            low = tl.load(low_at, mask=(pairs < left // 2)[None, :], other=0)
            high = tl.load(high_at, mask=(fours < left // 4)[None, :], other=0)
            token_scale = tl.load(token_scale_at, mask=whole, other=0)
            scale = tl.load(scale_at, mask=whole, other=0)
        total = tl.dot_scaled(x, token_scale, "e4m3", tl.trans(_e4m3(low, high)), scale, "e4m3", total)
        x_at += BLOCK_K
        low_at += BLOCK_K // 2
        high_at += BLOCK_K // 4
        token_scale_at += BLOCK_K // BLOCK
        scale_at += BLOCK_K // BLOCK
    store_tile(total * E4M3_FROM_E3M2, bias_ptr, out_ptr, row, column, M, N, BLOCK_M, BLOCK_N)


# activation -> its quantizer; format, also the name of a product in triton_tiles.py -> its GEMM
QUANTIZERS = {"mxfp8": quantize_e4m3, "mxfp4": quantize_e2m1}
GEMMS = {"mxfp4": mxfp4_gemm, "mxfp6": mxfp6_gemm}


def quantize_blocks(x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, activation: str) -> None:
    """x [M, K] float, contiguous, K a multiple of 32, into codes and scale as ops.mx_like has them; `activation` a name
    in QUANTIZERS."""
    count = x.numel() // mx.BLOCK
    with torch.cuda.device_of(x):
        QUANTIZERS[activation][(triton.cdiv(count, BLOCKS),)](x, codes, scale, count, BLOCKS=BLOCKS, num_warps=4)


def mx_product(
    quantized: torch.Tensor,
    token_scale: torch.Tensor,
    codes: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    dtype: torch.dtype,
    shape: tuple[int, int],
    product: str,
) -> torch.Tensor:
    """quantized and token_scale as `quantize_blocks` gives them, codes and scale as the format `product` has them, all
    contiguous, M > 0; shape (N, K); bias float [N] -> [M, N] in `dtype`."""
    M, (N, K) = quantized.shape[0], shape
    out = torch.empty((M, N), dtype=dtype, device=quantized.device)
    tile = tile_for(product, M, quantized.device)
    with torch.cuda.device_of(out):
        GEMMS[product][programs(M, N, tile)](
            quantized, token_scale, codes, scale, bias, out, M, N, K, codes.stride(0),
            EVEN_K=K % tile.k == 0, **tile.arguments(),
        )  # fmt: skip
    return out
