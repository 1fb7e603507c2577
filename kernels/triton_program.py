"""What every Triton GEMM here does around its inner loop: which tile a program computes and how it is written.

Importing this needs triton.
"""

import triton
import triton.language as tl

# tiles of rows that share a column of tiles before the next column starts: their weights stay in the L2 cache
GROUP = tl.constexpr(8)


@triton.jit
def tile_origin(M, N, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """First row and first column of this program's tile; programs of neighbouring numbers share rows and columns."""
    tiles_m = tl.cdiv(M, BLOCK_M)
    tiles_n = tl.cdiv(N, BLOCK_N)
    program = tl.program_id(0)
    group = program // (GROUP * tiles_n)
    first = group * GROUP
    height = tl.minimum(tiles_m - first, GROUP)
    within = program % (GROUP * tiles_n)
    return (first + within % height) * BLOCK_M, (within // height) * BLOCK_N


@triton.jit
def store_tile(values, bias_ptr, out_ptr, row, column, M, N, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """out[row:, column:] = values (float32, scaled) + bias, rounded once. Rows are offset in 64 bits: M * N may pass
    2**31."""
    rows = tl.arange(0, BLOCK_M)
    columns = tl.arange(0, BLOCK_N)
    inside = columns < N - column
    if bias_ptr is not None:
        values += tl.load(bias_ptr + column + columns, mask=inside, other=0.0).to(tl.float32)[None, :]
    target = out_ptr + row.to(tl.int64) * N + column + rows[:, None] * N + columns[None, :]
    tl.store(target, values.to(out_ptr.dtype.element_ty), mask=(rows < M - row)[:, None] & inside[None, :])


def programs(M: int, N: int, tile) -> tuple[int]:
    """The grid that `tile_origin` expects."""
    return (triton.cdiv(M, tile.m) * triton.cdiv(N, tile.n),)
