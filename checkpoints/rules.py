"""One row of a rename table."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

Change = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Piece:
    """Piece `index` of the `count` that, one below the other, are the rows of ComfyUI's tensor `name`."""

    name: str
    index: int
    count: int


@dataclass(frozen=True)
class Rule:
    """A pattern for the beginning of a name -> what replaces it; the rest of the name stays. Several targets: the
    rows of the tensor are split evenly among them. No target: ComfyUI's model has no such tensor. A Piece as a target:
    the tensor becomes some of the rows of another one."""

    pattern: str
    targets: tuple[str | Piece, ...] = ()
    change: Change | None = None
