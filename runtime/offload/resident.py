"""Which modules of a model stay on the device under a budget: what is in no block, then whole blocks from the first."""

from collections.abc import Sequence
from dataclasses import dataclass

from .blocks import Block


@dataclass(frozen=True)
class Entry:
    """A module that core moves as one: its name and bytes. `fixed`: whether core cannot compute it from RAM."""

    name: str
    nbytes: int
    fixed: bool = False


def resident(entries: Sequence[Entry], blocks: Sequence[Block], limit: float) -> list[str]:
    """The names of the entries that stay, first what has to, then by the order of the blocks, within `limit` bytes.

    A block stays as a whole or not at all; what is in none of them stays before any of them does.
    """
    whole: dict[str, list[Entry]] = {}
    for entry in entries:
        block = None if entry.fixed else _block_of(entry, blocks)
        if block is not None:
            whole.setdefault(block, []).append(entry)
    first = sorted(loose(entries, blocks), key=lambda entry: not entry.fixed)
    stays, left = [], limit
    for entry in first:
        if entry.fixed or entry.nbytes <= left:
            stays.append(entry.name)
            left -= entry.nbytes
    if len(stays) < len(first):
        return stays
    for group in whole.values():
        size = sum(entry.nbytes for entry in group)
        if size > left:
            break
        stays += [entry.name for entry in group]
        left -= size
    return stays


def loose(entries: Sequence[Entry], blocks: Sequence[Block]) -> list[Entry]:
    """Those that are in no block, or that cannot come and go with one."""
    return [entry for entry in entries if entry.fixed or _block_of(entry, blocks) is None]


def _block_of(entry: Entry, blocks: Sequence[Block]) -> str | None:
    return next((block.name for block in blocks if f"{entry.name}.".startswith(f"{block.name}.")), None)
