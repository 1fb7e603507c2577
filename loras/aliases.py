"""Other names of a model's layers, by the rename tables of its family: diffusers' and LightX2V's."""

from collections.abc import Iterator, Mapping

import torch

from ..families.recognise import identify
from ..families.rules import Target, targets

# core's way to name a part of a tensor: (name, (dimension, start, length)), or (name, None, change)
Part = str | tuple


def aliases(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, Part]]:
    """(another name, what it is of the tensors in `shapes`, whose names are ComfyUI's)."""
    variant = identify(shapes, quantized=True).variant
    for table in (variant.lightx2v.table, *variant.lora_names):
        for name, shape in shapes.items():
            found = targets(table, name)
            if shape and variant.lightx2v.can_cut(shape, found):
                yield from _aliases(name, shape[0], found)


def _aliases(name: str, rows: int, found: list[Target]) -> Iterator[tuple[str, Part]]:
    pieces: dict[str, list[Target]] = {}
    for target in found:
        if target.name != name:
            pieces.setdefault(target.name, []).append(target)
    for other, shares in pieces.items():
        if len(shares) == found[0].parts:
            turned = [share.part for share in shares] != [share.piece for share in shares]
            yield other, (name, None, _turned) if turned else name
        else:
            share = rows // shares[0].parts
            yield other, (name, (0, shares[0].part * share, len(shares) * share))


def _turned(rows: torch.Tensor) -> torch.Tensor:
    """The two halves, the other way round."""
    return torch.cat(rows.chunk(2)[::-1])
