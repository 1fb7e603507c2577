"""The memory that rounding one weight takes on its device, counted from what is there at each step."""

import torch

from ..formats.format import Format
from .gptq import BLOCK
from .methods import Method
from .pieces import step

FLOAT32 = torch.float32.itemsize
# what allocators round up, and buffers of libraries
MARGIN = 1.08
# float32 copies of a block of columns while it is swept, beside the scales of every value
SWEPT = 4


def room(shape: tuple[int, int], row: Format, method: Method, tokens: int, device: torch.device) -> int:
    """Bytes for a weight of `shape` (N, K) with its float32 values. row: of a format without smoothing. method: as
    `method_for` gives it. tokens: inputs that GPTQ goes by, 0 for any other method."""
    rows, columns = shape
    values = rows * columns
    if row.grid is None:
        return int(MARGIN * FLOAT32 * 3 * values)
    stored = sum(tensor.nbytes for tensor in row.encode(torch.empty(shape, device="meta")).values()) / FLOAT32
    piece = min(rows, step(columns, device)) * columns * row.grid.copies
    # the tensors of all pieces so far beside one more, or beside all of them joined
    packing = stored + max(stored, piece, row.grid.sampled(values))
    # in the basis of the codes they are a copy
    searched = method.rounding == "gptq" or (bool(row.grid.factors) and method.scales != "absmax")
    steps = [(2 if searched else 1) * values + packing]
    if method.rounding == "gptq":
        square, inputs = columns**2, tokens * columns
        # the tokens, a copy of them and their Hessian; then that and its inverse
        steps.append(2 * values + inputs + square + max(square, inputs))
        # what GPTQ gave, and its columns and their errors as rows
        steps.append(5 * values + square + BLOCK * rows * (SWEPT + row.grid.per_value))
    return int(MARGIN * FLOAT32 * max(steps))
