"""A weight some rows at a time: beside it and its codes, only copies of these rows are in memory. Every result is that
of the whole weight at once, bit by bit."""

import torch

from ..formats.format import Format
from ..formats.grid import Grid, Tensors
from .scales import SCALES

# float32 values of a piece, by the type of the device: not far from a CPU's cache, and on a GPU worth its launches
PIECES = {"cpu": 1 << 20, "cuda": 1 << 23}
# the tallest tile in which a format stores rows
TILE = 128


def step(columns: int, device: torch.device) -> int:
    """Rows of a piece: whole tiles."""
    return max(1, PIECES.get(device.type, PIECES["cpu"]) // (columns * TILE)) * TILE


def nearest(weight: torch.Tensor, row: Format, **options) -> Tensors:
    """float32 [N, K] -> the tensors of the format as its layout makes them. options: what its `quantize` takes."""
    parts = _parts(weight)
    # without a grid nobody knows which rows belong together
    if row.grid is None or len(parts) == 1:
        return row.encode(weight, scale="recalculate", **options)
    options = {"scale": "recalculate"} | row.of_whole(weight) | options
    return row.joined([row.encode(part, **options) for part in parts])


def scales(values: torch.Tensor, grid: Grid, name: str, whole: torch.Tensor | None, importance: torch.Tensor | None):
    """values: float32 [N, K] in the basis of the codes -> their scales. name: a key of SCALES, whose other arguments
    follow."""
    if grid.rows is None:
        return SCALES[name](grid, values, whole, importance)
    return grid.joined([SCALES[name](grid, part, whole, importance) for part in _parts(values)])


def packed(values: torch.Tensor, row: Format, scale, whole: torch.Tensor | None) -> Tensors:
    """values: float32 [N, K] in the basis of the codes; scale: as the grid of `row` gives it -> the tensors."""
    found, start = [], 0
    for part in _parts(values):
        stop = start + len(part)
        found.append(row.grid.encode(part, row.grid.some(scale, start, stop), whole))
        start = stop
    return row.joined(found)


def _parts(values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return values.split(step(values.shape[1], values.device))
