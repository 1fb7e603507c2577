"""GEMMs of 16-bit activations and packed weights that are expanded in registers. Importing this needs triton.

No dense copy of the weight is made; bit operations do the expansion, so nothing here needs a GPU that knows fp8.
"""

from dataclasses import replace

import torch
import triton
import triton.language as tl

from ..formats import int4_group128
from .triton_program import programs, store_tile, tile_origin
from .triton_tiles import tile_for

# e4m3 bits moved into a float16 keep their meaning but for the exponent's bias: 7 against 15
E4M3_FROM_HALF = tl.constexpr(256.0)


@triton.jit
def _from_nibbles(nibbles, DTYPE: tl.constexpr):
    """Integers 0..15, stored value = q + 8 -> q, exact: the nibble becomes the last bits of 1024 (float16) or 128
    (bfloat16), from which that number and 8 are taken."""
    one: tl.constexpr = 0x6400 if DTYPE.is_fp16() else 0x4300
    eight: tl.constexpr = 1032.0 if DTYPE.is_fp16() else 136.0
    return (nibbles.to(tl.int16) | one).to(DTYPE, bitcast=True) - tl.full((), eight, tl.float32).to(DTYPE)


@triton.jit
def _from_e4m3(codes, DTYPE: tl.constexpr):
    """e4m3 bytes -> their values / 256, exact; the two codes of NaN, which no weight holds, become 480 / 256."""
    bits = codes.to(tl.int16)
    half = (((bits & 0x80) << 8) | ((bits & 0x7F) << 7)).to(tl.float16, bitcast=True)
    return half.to(DTYPE)


@triton.jit(do_not_specialize=["M"])
def int4_gemm(
    x_ptr, codes_ptr, scale_ptr, zeros_ptr, bias_ptr, out_ptr, M, N, K, stride, GROUP: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, EVEN_K: tl.constexpr,
):  # fmt: skip
    """codes uint8 [N, K / 2], low nibble first; scale and, for weight = code * scale + zeros, zeros [N, ceil(K /
    GROUP)]. BLOCK_K divides GROUP; each step's sum is scaled into a float32 sum, so the products are of exact integers,
    and zeros are multiplied by the sum of the step's activations."""
    row, column = tile_origin(M, N, BLOCK_M, BLOCK_N)
    rows = tl.minimum(tl.arange(0, BLOCK_M), M - 1 - row)
    columns = tl.minimum(tl.arange(0, BLOCK_N), N - 1 - column)
    channels = tl.arange(0, BLOCK_K)
    pairs = tl.arange(0, BLOCK_K // 2)
    x_at = x_ptr + row.to(tl.int64) * stride + rows[:, None] * stride + channels[None, :]
    codes_at = codes_ptr + column.to(tl.int64) * (K // 2) + columns[:, None] * (K // 2) + pairs[None, :]
    scale_at = scale_ptr + (column + columns) * tl.cdiv(K, GROUP)
    if zeros_ptr is not None:
        zeros_at = zeros_ptr + (column + columns) * tl.cdiv(K, GROUP)
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in range(0, K, BLOCK_K):
        if EVEN_K:
            x = tl.load(x_at)
            packed = tl.load(codes_at)
        else:
            x = tl.load(x_at, mask=(channels < K - start)[None, :], other=0.0)
            packed = tl.load(codes_at, mask=(pairs < (K - start) // 2)[None, :], other=0)
        scale = tl.load(scale_at + start // GROUP).to(tl.float32)
        nibbles = tl.join(packed & 0xF, packed >> 4).reshape(BLOCK_N, BLOCK_K)
        weight = _from_nibbles(nibbles, x_ptr.dtype.element_ty)
        total += tl.dot(x, tl.trans(weight)) * scale[None, :]
        if zeros_ptr is not None:
            zeros = tl.load(zeros_at + start // GROUP).to(tl.float32)
            total += tl.sum(x.to(tl.float32), 1)[:, None] * zeros[None, :]
        x_at += BLOCK_K
        codes_at += BLOCK_K // 2
    store_tile(total, bias_ptr, out_ptr, row, column, M, N, BLOCK_M, BLOCK_N)


@triton.jit(do_not_specialize=["M"])
def fp8_weight_gemm(
    x_ptr, codes_ptr, scale_ptr, bias_ptr, out_ptr, M, N, K, stride,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, EVEN_K: tl.constexpr,
):  # fmt: skip
    """codes [N, K]: e4m3 as bytes; scale [N]."""
    row, column = tile_origin(M, N, BLOCK_M, BLOCK_N)
    rows = tl.minimum(tl.arange(0, BLOCK_M), M - 1 - row)
    columns = tl.minimum(tl.arange(0, BLOCK_N), N - 1 - column)
    channels = tl.arange(0, BLOCK_K)
    x_at = x_ptr + row.to(tl.int64) * stride + rows[:, None] * stride + channels[None, :]
    codes_at = codes_ptr + column.to(tl.int64) * K + columns[None, :] * K + channels[:, None]
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in range(0, K, BLOCK_K):
        if EVEN_K:
            x = tl.load(x_at)
            codes = tl.load(codes_at)
        else:
            inside = channels < K - start
            x = tl.load(x_at, mask=inside[None, :], other=0.0)
            codes = tl.load(codes_at, mask=inside[:, None], other=0)
        total = tl.dot(x, _from_e4m3(codes, x_ptr.dtype.element_ty), total)
        x_at += BLOCK_K
        codes_at += BLOCK_K
    scale = tl.load(scale_ptr + column + columns) * E4M3_FROM_HALF
    store_tile(total * scale[None, :], bias_ptr, out_ptr, row, column, M, N, BLOCK_M, BLOCK_N)


def int4_product(
    x: torch.Tensor,
    codes: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    zeros: torch.Tensor | None = None,
    group: int = int4_group128.GROUP,
) -> torch.Tensor:
    """As `_product`; codes, scale and zeros as `int4_gemm` takes them, the latter two of any float type."""
    return _product("int4" if zeros is None else "int4-zeros", int4_gemm, x, codes, (scale, zeros), bias, group)


def fp8_weight_product(
    x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """As `_product`; codes and float32 scale as `fp8_weight_gemm` takes them."""
    return _product("fp8-weight", fp8_weight_gemm, x, codes, (scale,), bias)


def _product(product, gemm, x, codes, scales, bias, group=None):
    """x [M, K] bfloat16 or float16, M > 0; codes uint8 [N, ...], contiguous; bias float [N] -> [M, N] in x.dtype.
    product: a name in triton_tiles.py; group: the input channels that share a scale, if they do."""
    x = x if x.stride(1) == 1 else x.contiguous()
    (M, K), N = x.shape, codes.shape[0]
    out = torch.empty((M, N), dtype=x.dtype, device=x.device)
    tile = tile_for(product, M, x.device)
    grouped = {}
    if group is not None:
        tile, grouped = replace(tile, k=min(tile.k, group)), {"GROUP": group}
    with torch.cuda.device_of(out):
        gemm[programs(M, N, tile)](
            x, codes, *scales, bias, out, M, N, K, x.stride(0), **grouped, EVEN_K=K % tile.k == 0, **tile.arguments()
        )
    return out
