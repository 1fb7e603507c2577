"""Coordinate descent (QuantEase, Behdin et al. 2023): rounded columns are chosen again, one after the other, each as it
suits all others."""

import torch

from ..formats.grid import Grid
from .curvature import Curvature
from .gptq import BLOCK

# how often each column is chosen again; more gain little
SWEEPS = 2
# share of the mean of the Hessian's diagonal that is added to the diagonal; GPTQ's would pull towards the nearest codes
DAMPING = 0.001


def descend(
    values: torch.Tensor, rounded: torch.Tensor, grid: Grid, scale: torch.Tensor, curvature: Curvature
) -> torch.Tensor:
    """values: float32 [N, K] in the basis of the codes; rounded: those of the grid that stand for them; scale: as
    `grid` gives it, which stays -> float32 [N, K] of the grid, whose layer's outputs have no larger an error.

    With D = values - rounded and the Hessian H, the squared error is the trace of D H D^T. Column i alone changed, it
    is least at q_i + (D H)_i / H_ii, and the farther from there the larger. So the nearest value of the grid is the
    best. Beside its arguments two copies of them.
    """
    order, triangles = curvature.order, curvature.triangles
    diagonal = curvature.diagonal + DAMPING * curvature.diagonal.mean()
    # columns as rows, which are contiguous
    found = rounded.t()[order]
    errors = values.t()[order].sub_(found)
    for _ in range(SWEEPS):
        for start in range(0, len(order), BLOCK):
            stop = min(start + BLOCK, len(order))
            within = triangles[start:stop, start:stop].triu(1)
            within = within + within.t() + diagonal[start:stop].diag()
            slopes = within @ errors[start:stop]
            slopes.addmm_(triangles[:start, start:stop].t(), errors[:start])
            slopes.addmm_(triangles[start:stop, stop:], errors[stop:])
            # that of one block at a time: a codebook's is sixteen times as large as the values
            _choose_block(
                *(found[start:stop], errors[start:stop], slopes, within),
                grid.spread(scale, len(values), order[start:stop]),
                grid,
            )
    # which are no longer needed
    errors[order] = found
    del found
    return errors.t().contiguous()


def _choose_block(found, errors, slopes, within, spread, grid: Grid) -> None:
    """Choose columns [n, N] again, in place. slopes: (D H) of these columns, which are overwritten; within: their part
    of the Hessian."""
    steps = within.diagonal().clamp(min=torch.finfo(torch.float32).tiny).reciprocal().tolist()
    for i in range(len(found)):
        chosen = grid.rounded(torch.add(found[i], slopes[i], alpha=steps[i]), spread[i])
        change = chosen - found[i]
        found[i] = chosen
        errors[i] -= change
        if i + 1 < len(found):
            slopes[i + 1 :].addr_(within[i, i + 1 :], change, alpha=-1)
