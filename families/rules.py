"""Rename tables: their rows, and where a row sends a tensor."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..common.row_slice import ALL, RowSlice

if TYPE_CHECKING:
    import torch

    Change = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Place:
    """The rows `rows` of the tensor called `name`."""

    name: str
    rows: RowSlice = ALL


@dataclass(frozen=True)
class Rule:
    """A pattern for the beginning of a name -> what replaces it; the rest of the name stays. Several targets: the
    rows of the tensor are split evenly among them. No target: there is no such tensor. A Place as a target: the tensor
    becomes some of the rows of another one. The tensor is given through `change`."""

    pattern: str
    targets: tuple[str | Place, ...] = ()
    change: Change | None = None


@dataclass(frozen=True)
class Target:
    """Where rows of a tensor go: those of `source`, through `change`, become the rows `place` of the tensor `name`."""

    name: str
    source: RowSlice = ALL
    change: Change | None = None
    place: RowSlice = ALL

    def take(self, tensor: torch.Tensor) -> torch.Tensor:
        rows = self.source.of(tensor)
        return rows if self.change is None else self.change(rows)


def targets(table: Iterable[Rule], name: str) -> list[Target]:
    """Where the tensor called `name` goes, by a rename table; empty if it is dropped."""
    for rule in table:
        match = re.match(rule.pattern, name)
        if match:
            rest = name[match.end() :]
            places = [given if isinstance(given, Place) else Place(given) for given in rule.targets]
            return [
                Target(match.expand(place.name) + rest, RowSlice(index, len(places)), rule.change, place.rows)
                for index, place in enumerate(places)
            ]
    return [Target(name)]
