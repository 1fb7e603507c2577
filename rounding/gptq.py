"""GPTQ (Frantar et al. 2022): columns are rounded one after the other, and those to come make up for the error."""

import torch

from ..formats.grid import Grid
from .curvature import Curvature

# columns whose corrections are applied to the rest of the weight at once
BLOCK = 128


def gptq(values: torch.Tensor, grid: Grid, scale: torch.Tensor, curvature: Curvature) -> torch.Tensor:
    """values: float32 [N, K] in the basis of the codes; scale: as `grid` gives it, which stays -> float32 [N, K] of the
    grid, with about the least error of the layer's outputs.

    With M the lower triangle of curvature.triangles (in its order), the inverse of the Hessian is M^T M. Column i is
    rounded to q, and its error e = (w_i - q) / M_ii changes each column j < i by -e M_ij. Beside `values` two copies of
    them.
    """
    count, width = values.shape
    order, inverse = curvature.order, curvature.triangles
    # columns as rows, which are contiguous
    rest = values.t()[order]
    result = torch.empty_like(values)
    for stop in range(width, 0, -BLOCK):
        start = max(0, stop - BLOCK)
        errors = _round_block(rest[start:stop], grid.spread(scale, count, order[start:stop]), grid, inverse, start)
        result[:, order[start:stop]] = rest[start:stop].t()
        if start:
            rest[:start].addmm_(inverse[start:stop, :start].t(), errors, alpha=-1)
    return result


def _round_block(columns, spread, grid: Grid, inverse, start: int) -> torch.Tensor:
    """Round columns [n, N] in place, the last first -> their errors [n, N]. spread: their scales, [n, N, ...]."""
    size = len(columns)
    errors = torch.empty_like(columns)
    within = inverse[start : start + size, start : start + size]
    inverses = (1 / within.diagonal()).tolist()
    for i in range(size - 1, -1, -1):
        rounded = grid.rounded(columns[i], spread[i])
        torch.sub(columns[i], rounded, out=errors[i]).mul_(inverses[i])
        columns[i] = rounded
        if i:
            columns[:i].addr_(within[i, :i], errors[i], alpha=-1)
    return errors
