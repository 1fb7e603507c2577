"""8-bit GEMM with per-token and per-channel scales and the bias in its epilogue. Importing this needs triton.

Sums: int8 in int32. fp8 in float32 as the tensor core keeps it: on Hopper that is some 14 bits within one
instruction, what the libraries' "fast accumulation" also takes; block scales (triton_block128.py) are exact.
fp8 with float16 sums: chunks of 64 products, each chunk then added to a float32 sum.
"""

import torch
import triton
import triton.language as tl

from .triton_program import programs, store_tile, tile_origin
from .triton_tiles import tile_for


@triton.jit(do_not_specialize=["M"])
def scaled_gemm(
    x_ptr, codes_ptr, token_scale_ptr, scale_ptr, bias_ptr, out_ptr, M, N, K,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, EVEN_K: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """x [M, K] and codes [N, K] of one 8-bit type. SUM: the type of the sum; float16 only sums BLOCK_K products."""
    row, column = tile_origin(M, N, BLOCK_M, BLOCK_N)
    # beyond the last row or column the last one is read again; what is computed there is not stored
    rows = tl.minimum(tl.arange(0, BLOCK_M), M - 1 - row)
    columns = tl.minimum(tl.arange(0, BLOCK_N), N - 1 - column)
    channels = tl.arange(0, BLOCK_K)
    x_at = x_ptr + row.to(tl.int64) * K + rows[:, None] * K + channels[None, :]
    codes_at = codes_ptr + column.to(tl.int64) * K + columns[None, :] * K + channels[:, None]
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32 if SUM.is_fp16() else SUM)
    for start in range(0, K, BLOCK_K):
        if EVEN_K:
            x = tl.load(x_at)
            codes = tl.load(codes_at)
        else:
            inside = channels < K - start
            x = tl.load(x_at, mask=inside[None, :], other=0.0)
            codes = tl.load(codes_at, mask=inside[:, None], other=0.0)
        if SUM.is_fp16():
            total += tl.dot(x, codes, out_dtype=tl.float16).to(tl.float32)
        else:
            total = tl.dot(x, codes, total, out_dtype=SUM)
        x_at += BLOCK_K
        codes_at += BLOCK_K
    token_scale = tl.load(token_scale_ptr + row + rows)
    scale = tl.load(scale_ptr + column + columns)
    values = total.to(tl.float32) * token_scale[:, None] * scale[None, :]
    store_tile(values, bias_ptr, out_ptr, row, column, M, N, BLOCK_M, BLOCK_N)


# name of a product in triton_tiles.py -> the type of its sum
SUMS = {"int8": tl.int32, "fp8": tl.float32, "fp8-f16": tl.float16}


def scaled_product(
    quantized: torch.Tensor,
    token_scale: torch.Tensor,
    codes: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    dtype: torch.dtype,
    product: str,
) -> torch.Tensor:
    """quantized [M, K] and codes [N, K] of one 8-bit dtype, contiguous, M > 0; token_scale float32 [M, 1], scale
    float32 [N, 1], bias float [N]; `product` a name in SUMS -> [M, N] in `dtype`."""
    (M, K), N = quantized.shape, codes.shape[0]
    out = torch.empty((M, N), dtype=dtype, device=quantized.device)
    tile = tile_for(product, M, quantized.device)
    with torch.cuda.device_of(out):
        scaled_gemm[programs(M, N, tile)](
            quantized, codes, token_scale, scale, bias, out, M, N, K,
            EVEN_K=K % tile.k == 0, SUM=SUMS[product], **tile.arguments(),
        )  # fmt: skip
    return out
