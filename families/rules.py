"""Rename tables: their rows, and where a row sends a tensor."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    Change = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Piece:
    """Piece `index` of the `count` that, one below the other, are the rows of the tensor `name`."""

    name: str
    index: int
    count: int


@dataclass(frozen=True)
class Rule:
    """A pattern for the beginning of a name -> what replaces it; the rest of the name stays. Several targets: the
    rows of the tensor are split evenly among them. No target: there is no such tensor. A Piece as a target: the tensor
    becomes some of the rows of another one. The tensor is given through `change`."""

    pattern: str
    targets: tuple[str | Piece, ...] = ()
    change: Change | None = None


@dataclass(frozen=True)
class Target:
    """Where a tensor goes: part `part` of `parts` equal shares of its rows, then through `change`. There it is piece
    `piece` of the `pieces` that make the rows of the tensor called `name`."""

    name: str
    part: int = 0
    parts: int = 1
    change: Change | None = None
    piece: int = 0
    pieces: int = 1

    def rows(self, count: int) -> slice | None:
        """The share of `count` rows, None for all of them."""
        share = count // self.parts
        return None if self.parts == 1 else slice(self.part * share, (self.part + 1) * share)

    def take(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.parts > 1:
            tensor = tensor[self.rows(tensor.shape[0])]
        return tensor if self.change is None else self.change(tensor)


def targets(table: Iterable[Rule], name: str) -> list[Target]:
    """Where the tensor called `name` goes, by a rename table; empty if it is dropped."""
    for rule in table:
        match = re.match(rule.pattern, name)
        if match:
            rest = name[match.end() :]
            return [_target(rule, match, part, rest) for part in range(len(rule.targets))]
    return [Target(name)]


def _target(rule: Rule, match: re.Match, part: int, rest: str) -> Target:
    given = rule.targets[part]
    piece = given if isinstance(given, Piece) else Piece(given, 0, 1)
    return Target(match.expand(piece.name) + rest, part, len(rule.targets), rule.change, piece.index, piece.count)
