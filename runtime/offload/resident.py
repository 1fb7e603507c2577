"""Which modules stay on the device under a budget: those outside the blocks, then whole blocks from the first."""

from collections.abc import Sequence
from dataclasses import dataclass

from .blocks import Block


@dataclass(frozen=True)
class Entry:
    """A module that core moves as a whole. `fixed`: it has to be on the device, core cannot stream it from RAM."""

    name: str
    nbytes: int
    fixed: bool = False


def resident(entries: Sequence[Entry], blocks: Sequence[Block], limit: float) -> list[str]:
    """The names of the entries that stay within `limit` bytes: fixed ones in any case, then those outside the blocks,
    then whole blocks in their order. No block stays unless everything outside the blocks does."""
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
    """The entries outside the blocks, and those inside one that are fixed."""
    return [entry for entry in entries if entry.fixed or _block_of(entry, blocks) is None]


def _block_of(entry: Entry, blocks: Sequence[Block]) -> str | None:
    return next((block.name for block in blocks if f"{entry.name}.".startswith(f"{block.name}.")), None)
