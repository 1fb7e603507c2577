"""Rows of a quantized weight as a weight of its own."""

from collections.abc import Sequence

import torch

from .encodings import ENCODINGS
from .weights import StoredWeight

# format -> how many rows are stored as one and can only be cut off together
TOGETHER = {encoding.format: encoding.rows for encoding in ENCODINGS if encoding.row_axis == 0}


def cut(stored: StoredWeight, spans: Sequence[tuple[int, int]]) -> StoredWeight | None:
    """The rows of each span (first, behind the last), one below the other, with the codes and scales that they have;
    None for a format that stores rows across a border of them together. Not for int4 in Marlin's order."""
    together = TOGETHER[stored.format]
    if any(border % together for span in spans for border in span):
        return None
    count = sum(stop - start for start, stop in spans)
    tensors = {name: _rows(tensor, stored.shape[0], spans) for name, tensor in stored.tensors.items()}
    return StoredWeight(stored.format, (count, stored.shape[1]), tensors)


def _rows(tensor: torch.Tensor, count: int, spans: Sequence[tuple[int, int]]) -> torch.Tensor:
    """Of a tensor for `count` rows; one with a single value per weight or per column has none."""
    if tensor.ndim < 2 or (tensor.shape[0] == 1 and count > 1):
        return tensor
    parts = [tensor[start * len(tensor) // count : stop * len(tensor) // count] for start, stop in spans]
    return parts[0].contiguous() if len(parts) == 1 else torch.cat(parts)
