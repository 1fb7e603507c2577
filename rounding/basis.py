"""From a layer's weight and inputs to the basis in which its format has the codes: smoothed, then rotated."""

import torch

from ..formats.format import Format
from ..formats.int8_convrot import rotated


def weight_in_basis(weight: torch.Tensor, row: Format, factor: torch.Tensor | None) -> torch.Tensor:
    """float32 [N, K] -> float32 [N, K], memory of its own: columns / factor [K], then groups of them times H."""
    if row.rotation:
        return rotated(weight if factor is None else weight / factor, row.rotation)
    return weight.clone() if factor is None else weight / factor


def tokens_in_basis(tokens: torch.Tensor, row: Format, factor: torch.Tensor | None) -> torch.Tensor:
    """[T, K] float -> float32 [T, K]: channels * factor [K], then groups of them times H. With the weight in its basis
    the product is what it was."""
    values = tokens.to(torch.float32)
    values = values if factor is None else values * factor
    return rotated(values, row.rotation) if row.rotation else values


def importance_in_basis(squares: torch.Tensor, row: Format, factor: torch.Tensor | None) -> torch.Tensor:
    """Mean squares float32 [K] of the inputs -> those in the basis, for channels that do not depend on each other: a
    rotated channel is a sum of its group with equal weights."""
    squares = squares.to(torch.float32)
    squares = squares if factor is None else squares * factor.square()
    if not row.rotation:
        return squares
    means = squares.unflatten(0, (-1, row.rotation)).mean(dim=1, keepdim=True)
    return means.expand(-1, row.rotation).flatten()
