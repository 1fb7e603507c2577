"""fp8 GEMM with a scale per token and 128 channels and a scale per 128 x 128 weights. Importing this needs triton."""

import torch
import triton
import triton.language as tl

from .triton_program import programs, store_tile, tile_origin
from .triton_tiles import tile_for


@triton.jit(do_not_specialize=["M"])
def block_gemm(
    x_ptr, codes_ptr, token_scale_ptr, scale_ptr, bias_ptr, out_ptr, M, N, K,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, EVEN_K: tl.constexpr,
):  # fmt: skip
    """token_scale [ceil(K / 128), M], scale [ceil(N / 128), ceil(K / 128)]. BLOCK_K is 128 and BLOCK_N divides 128, so
    a tile's step has one weight scale; each step's sum is scaled into a float32 sum."""
    row, column = tile_origin(M, N, BLOCK_M, BLOCK_N)
    rows = tl.minimum(tl.arange(0, BLOCK_M), M - 1 - row)
    columns = tl.minimum(tl.arange(0, BLOCK_N), N - 1 - column)
    channels = tl.arange(0, BLOCK_K)
    x_at = x_ptr + row.to(tl.int64) * K + rows[:, None] * K + channels[None, :]
    codes_at = codes_ptr + column.to(tl.int64) * K + columns[None, :] * K + channels[:, None]
    token_scale_at = token_scale_ptr + row + rows
    scale_at = scale_ptr + column // BLOCK_K * tl.cdiv(K, BLOCK_K)
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in range(0, K, BLOCK_K):
        if EVEN_K:
            x = tl.load(x_at)
            codes = tl.load(codes_at)
        else:
            inside = channels < K - start
            x = tl.load(x_at, mask=inside[None, :], other=0.0)
            codes = tl.load(codes_at, mask=inside[:, None], other=0.0)
        scale = tl.load(token_scale_at) * tl.load(scale_at)
        total += tl.dot(x, codes) * scale[:, None]
        x_at += BLOCK_K
        codes_at += BLOCK_K
        token_scale_at += M
        scale_at += 1
    store_tile(total, bias_ptr, out_ptr, row, column, M, N, BLOCK_M, BLOCK_N)


def block_product(
    quantized: torch.Tensor,
    token_scale: torch.Tensor,
    codes: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor | None,
    dtype: torch.dtype,
) -> torch.Tensor:
    """quantized [M, K], codes [N, K] e4m3fn, token_scale and scale float32 as in `block_gemm`, all contiguous, M > 0;
    bias float [N] -> [M, N] in `dtype`."""
    (M, K), N = quantized.shape, codes.shape[0]
    out = torch.empty((M, N), dtype=dtype, device=quantized.device)
    tile = tile_for("block128", M, quantized.device)
    with torch.cuda.device_of(out):
        block_gemm[programs(M, N, tile)](
            quantized, codes, token_scale, scale, bias, out, M, N, K, EVEN_K=K % tile.k == 0, **tile.arguments()
        )
    return out
