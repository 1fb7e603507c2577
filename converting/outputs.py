"""Which tensors a converted model has, under the names of a dialect, and which rows of which source they are."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..checkpoints import Checkpoint, names
from ..checkpoints.layers import SPIECE
from ..checkpoints.originals import original
from .errors import ConvertError

# as LightX2V's converter names and stores things; as ComfyUI's own loaders read them; as this pack's layers are saved,
# which is the one that has every format and smoothing
LIGHTX2V, COMFYUI, X2V = "lightx2v", "comfyui", "x2v"
DIALECTS = (LIGHTX2V, COMFYUI, X2V)

# rename tables (checkpoints/names.py) of files that have Wan's own names already
WANS_OWN = ("same", "wan-t5", "xlm-r")
# what is no tensor of ComfyUI's models: Wan's own files have a logit scale, ComfyUI's carry the tokenizer
ALSO_THERE = {LIGHTX2V: ("log_scale", "logit_scale"), COMFYUI: (SPIECE,), X2V: (SPIECE,)}


@dataclass(frozen=True)
class Piece:
    """Share `part` of `parts` of the rows of the source's tensor `key`, after each of `changes`."""

    key: str
    part: int = 0
    parts: int = 1
    changes: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = ()

    def rows(self, count: int) -> tuple[int, int]:
        """(first, behind the last) of `count` rows."""
        share = count // self.parts
        return self.part * share, (self.part + 1) * share

    def change(self, tensor: torch.Tensor) -> torch.Tensor:
        for change in self.changes:
            tensor = change(tensor)
        return tensor


@dataclass(frozen=True)
class Output:
    """A tensor of the converted model: the rows of its pieces, one below the other. `shape`: of the whole."""

    name: str
    pieces: tuple[Piece, ...]
    shape: tuple[int, ...]


def outputs(checkpoint: Checkpoint, dialect: str) -> dict[str, Output]:
    """Name in the converted model -> what it is made of; a quantized weight of the source goes by the key of its codes.
    Raises ConvertError if a tensor that the dialect has in one piece is not all there."""
    found: dict[str, dict[int, Piece]] = {}
    whole: dict[str, int] = {}
    for key, name in _source_names(checkpoint, dialect).items():
        for target, part, parts, piece in _places(checkpoint, dialect, key, name):
            found.setdefault(target, {})[part] = piece
            whole[target] = parts
    shapes = {key: info.shape for key, info in checkpoint.tensors.items()}
    shapes.update({layer.weight_key: layer.stored.shape for layer in checkpoint.layers.values()})
    result = {}
    for name, pieces in found.items():
        if len(pieces) < whole[name]:
            raise ConvertError(
                f"{checkpoint.path.name}: {name} is made of {whole[name]} tensors of which {len(pieces)} are there. "
                "The file is incomplete: download it again."
            )
        joined = _joined([pieces[part] for part in sorted(pieces)])
        result[name] = Output(name, joined, _shape(joined, shapes))
    return result


def _source_names(checkpoint: Checkpoint, dialect: str) -> dict[str, str]:
    """Key -> the name without the prefix: kept tensors, quantized weights by the key of their codes, and what of
    ALSO_THERE is there."""
    stored = {layer.weight_key: f"{layer.stored.name}.weight" for layer in checkpoint.layers.values()}
    named = {key: stored.get(key, key) for key in checkpoint.tensors if key in stored or key in checkpoint.kept}
    dropped = [key for key in checkpoint.tensors if key.removeprefix(checkpoint.prefix) in ALSO_THERE[dialect]]
    named.update({key: key for key in dropped})
    return {key: name.removeprefix(checkpoint.prefix) for key, name in named.items()}


def _places(checkpoint: Checkpoint, dialect: str, key: str, name: str) -> list[tuple[str, int, int, Piece]]:
    """[(name in the dialect, share of how many of that tensor's rows, which piece)] of one tensor of the source."""
    table = checkpoint.family.names
    if dialect == LIGHTX2V and table in WANS_OWN:
        return [(name, 0, 1, Piece(key))]
    result = []
    if dialect != LIGHTX2V:
        table = checkpoint.family.joins or table
    for target in names.targets(table, name):
        changes = (target.change,) if target.change else ()
        if dialect != LIGHTX2V:
            piece = Piece(key, target.part, target.parts, changes)
            result.append((target.name, target.piece, target.pieces, piece))
            continue
        wan, rule = original(checkpoint.kind, target.name)
        if wan is not None:
            changes += (rule.change,) if rule.change else ()
            result.append((wan, rule.part, rule.parts, Piece(key, target.part, target.parts, changes)))
    return result


def _joined(pieces: list[Piece]) -> tuple[Piece, ...]:
    """The pieces, or the whole tensor if they are all shares of one, in order."""
    first = pieces[0]
    shares = [(piece.key, piece.part) for piece in pieces]
    if len(pieces) > 1 and shares == [(first.key, part) for part in range(first.parts)]:
        return (Piece(first.key, changes=first.changes),)
    return tuple(pieces)


def _shape(pieces: tuple[Piece, ...], sources: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    """sources: the shape of every tensor, (N, K) of a quantized layer by the key of its codes."""
    shapes = []
    for piece in pieces:
        shape = sources[piece.key]
        if piece.parts > 1:
            start, stop = piece.rows(shape[0])
            shape = (stop - start, *shape[1:])
        shapes.append(tuple(piece.change(torch.empty(shape, device="meta")).shape))
    return shapes[0] if len(shapes) == 1 else (sum(shape[0] for shape in shapes), *shapes[0][1:])
