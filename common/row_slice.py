"""Rows of a tensor, told as equal shares of all of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, order=True)
class RowSlice:
    """Of the `count` equal shares of a tensor's rows `length` neighbours, from share `index` on. All rows by default.
    Sorted, slices of one tensor are in the order of its rows."""

    index: int = 0
    count: int = 1
    length: int = 1

    @property
    def is_all(self) -> bool:
        return self.length == self.count

    def span(self, rows: int) -> tuple[int, int]:
        """(first, behind the last), if the tensor has so many rows."""
        share = rows // self.count
        return self.index * share, (self.index + self.length) * share

    def with_next(self, other: RowSlice) -> RowSlice | None:
        """This slice and `other` as one; None unless `other` is right behind it."""
        if (self.count, self.index + self.length) != (other.count, other.index):
            return None
        length = self.length + other.length
        return ALL if length == self.count else RowSlice(self.index, self.count, length)

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """A view of these rows."""
        return tensor if self.is_all else tensor[slice(*self.span(len(tensor)))]


ALL = RowSlice()


def shape_of(shape: tuple[int, ...], slices: Sequence[RowSlice]) -> tuple[int, ...]:
    """Of what `take` gives for a tensor of `shape`."""
    if slices == [ALL]:
        return shape
    spans = [rows.span(shape[0]) for rows in slices]
    return sum(stop - start for start, stop in spans), *shape[1:]


def take(tensor: torch.Tensor, slices: Sequence[RowSlice]) -> torch.Tensor:
    """The rows of the slices, one below the other; a view for a single slice."""
    if len(slices) == 1:
        return slices[0].of(tensor)
    import torch

    return torch.cat([rows.of(tensor) for rows in slices])
