"""Other names of a model's layers, by the rename tables of its family: diffusers' and LightX2V's."""

from collections.abc import Iterator, Mapping

import torch

from ..checkpoints.kinds import identify
from ..checkpoints.lightx2v_names import is_cut_evenly, naming
from ..checkpoints.names import Target, targets

# model, as kinds.py says it -> tables beside the one of its files; what has none has diffusers' names itself
TABLES = {
    "Flux": ("to omi's flux",),
    "Chroma": ("to flux", "to omi's flux"),
    "Lumina 2": ("to z-image",),
    "HunyuanVideo": ("to diffusers' hunyuan-video", "to omi's hunyuan-video"),
    "HunyuanVideo 1.5": ("to diffusers' hunyuan-video",),
}
# core's way to name a part of a tensor: (name, (dimension, start, length)), or (name, None, change)
Part = str | tuple


def aliases(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, Part]]:
    """(another name, what it is of the tensors in `shapes`, whose names are ComfyUI's)."""
    _, model = identify(dict(shapes), quantized=True)
    own = naming(model)
    for table in (own.table, *TABLES.get(model, ())):
        for name, shape in shapes.items():
            found = targets(table, name)
            if shape and is_cut_evenly(shape, found, own.square):
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
