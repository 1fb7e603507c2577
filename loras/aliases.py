"""Names that diffusers and LightX2V have for a model's layers, from the rename tables of its family."""

from collections.abc import Iterator, Mapping

import torch

from ..families.recognise import identify
from ..families.rules import Target, targets

# a tensor, or a slice of one as core writes it: (name, (dimension, start, length)), or (name, None, change)
TensorSlice = str | tuple


def aliases(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, TensorSlice]]:
    """Yields (another name, the tensor or slice that it stands for). shapes: ComfyUI's name -> shape."""
    variant = identify(shapes, quantized=True).variant
    for table in (variant.lightx2v.table, *variant.lora_names):
        for name, shape in shapes.items():
            found = targets(table, name)
            if shape and variant.lightx2v.can_cut(shape, found):
                yield from _aliases(name, shape[0], found)


def _aliases(name: str, rows: int, found: list[Target]) -> Iterator[tuple[str, TensorSlice]]:
    slices: dict[str, list[Target]] = {}
    for target in found:
        if target.name != name:
            slices.setdefault(target.name, []).append(target)
    for other, shares in slices.items():
        if len(shares) == found[0].source.count:
            turned = [share.source for share in shares] != [share.place for share in shares]
            yield other, (name, None, _turned) if turned else name
        else:
            start, stop = shares[0].source.span(rows)
            yield other, (name, (0, start, len(shares) * (stop - start)))


def _turned(rows: torch.Tensor) -> torch.Tensor:
    """The rows with their two halves swapped."""
    return torch.cat(rows.chunk(2)[::-1])
