"""Which tensors a converted model has, under the names of a dialect, and which rows of which source they are."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from ..checkpoints import Checkpoint
from ..checkpoints.encodings import COMFYUI, LIGHTX2V, X2V
from ..checkpoints.layers import SPIECE
from ..families.rules import targets
from .errors import ConvertError

# what is no tensor of ComfyUI's models: Wan's own files have a logit scale, ComfyUI's carry the tokenizer
ALSO_THERE = {LIGHTX2V: ("log_scale", "logit_scale"), COMFYUI: (SPIECE,), X2V: (SPIECE,)}


@dataclass(frozen=True)
class Piece:
    """Share `part` of `parts` of the rows of the source's tensor `key`, and the shares behind it up to `shares` in all,
    after each of `changes`."""

    key: str
    part: int = 0
    parts: int = 1
    changes: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = ()
    shares: int = 1

    def rows(self, count: int) -> tuple[int, int]:
        """(first, behind the last) of `count` rows."""
        share = count // self.parts
        return self.part * share, (self.part + self.shares) * share

    def change(self, tensor: torch.Tensor) -> torch.Tensor:
        for change in self.changes:
            tensor = change(tensor)
        return tensor


@dataclass(frozen=True)
class Output:
    """A tensor of the converted model: the rows of its pieces, one below the other. `shape`: of the whole. `cut_from`:
    the tensor under ComfyUI's name, if the dialect calls it otherwise or has its rows apart."""

    name: str
    pieces: tuple[Piece, ...]
    shape: tuple[int, ...]
    cut_from: "Output | None" = None

    @property
    def whole(self) -> "Output":
        """What LoRAs and calibrations know it as."""
        return self.cut_from or self

    def cut(self, values: torch.Tensor) -> torch.Tensor:
        """Out of the values of `whole` those of this one."""
        if self.cut_from is None or self.pieces == self.cut_from.pieces:
            return values
        return torch.cat([values[slice(*piece.rows(len(values)))] for piece in self.pieces])


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
    cut = _cut_from(checkpoint, dialect, shapes)
    result = {}
    for name, pieces in found.items():
        if len(pieces) < whole[name]:
            raise ConvertError(
                f"{checkpoint.path.name}: {name} is made of {whole[name]} tensors of which {len(pieces)} are there. "
                "The file is incomplete: download it again."
            )
        joined = _joined([pieces[part] for part in sorted(pieces)])
        result[name] = Output(name, joined, _shape(joined, shapes), cut.get(joined[0].key))
    return result


def _cut_from(checkpoint: Checkpoint, dialect: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, Output]:
    """Key -> the tensor as ComfyUI has it, of a diffusion model whose tensors LightX2V calls otherwise. Raises
    ConvertError for a layer that cannot be what LightX2V has apart."""
    if dialect != LIGHTX2V or not checkpoint.naming.is_lightx2vs:
        return {}
    found = {}
    for key, name in _source_names(checkpoint, dialect).items():
        ours, theirs = checkpoint.told.lightx2v_targets(name)
        shape = shapes[key]
        if not checkpoint.told.variant.lightx2v.can_cut(shape, theirs):
            raise ConvertError(
                f"{checkpoint.path.name}: {key} has shape {list(shape)}, which is not the {theirs[0].parts} equal "
                f"parts that LightX2V has of it. Convert this model to the dialect {COMFYUI} or {X2V}."
            )
        if [target.name for target in theirs] != [name]:
            found[key] = Output(ours, (Piece(key),), shape)
    return found


def _source_names(checkpoint: Checkpoint, dialect: str) -> dict[str, str]:
    """Key -> the name without the prefix: kept tensors, quantized weights by the key of their codes, and what of
    ALSO_THERE is there. What is added, LightX2V's files do not have."""
    stored = {layer.weight_key: f"{layer.stored.name}.weight" for layer in checkpoint.layers.values()}
    kept = [key for key in checkpoint.kept if dialect != LIGHTX2V or key not in checkpoint.added]
    named = {key: stored.get(key, key) for key in checkpoint.tensors if key in stored or key in kept}
    named.update({key: key for key in checkpoint.settings if _keeps_settings(checkpoint, dialect)})
    dropped = [key for key in checkpoint.tensors if key.removeprefix(checkpoint.prefix) in ALSO_THERE[dialect]]
    named.update({key: key for key in dropped})
    return {key: name.removeprefix(checkpoint.prefix) for key, name in named.items()}


def left_out(checkpoint: Checkpoint, dialect: str) -> list[str]:
    """What to say of tensors that the dialect has no place for."""
    count = 0 if _keeps_settings(checkpoint, dialect) else len(checkpoint.settings)
    return [f"{count} attention settings are left out"] if count else []


def _keeps_settings(checkpoint: Checkpoint, dialect: str) -> bool:
    """Whether the modules that attention settings are of have the same names in the dialect."""
    return dialect != LIGHTX2V and not checkpoint.naming.table


def _places(checkpoint: Checkpoint, dialect: str, key: str, name: str) -> list[tuple[str, int, int, Piece]]:
    """[(name in the dialect, share of how many of that tensor's rows, which piece)] of one tensor of the source."""
    if dialect == LIGHTX2V and checkpoint.naming.is_lightx2vs:
        _, found = checkpoint.told.lightx2v_targets(name)
        return [(one.name, one.piece, one.pieces, Piece(key, one.part, one.parts)) for one in found]
    result = []
    for target in targets(checkpoint.naming.table, name):
        changes = (target.change,) if target.change else ()
        if dialect != LIGHTX2V:
            piece = Piece(key, target.part, target.parts, changes)
            result.append((target.name, target.piece, target.pieces, piece))
            continue
        for wan in targets(checkpoint.told.variant.lightx2v.table, target.name):
            changes += (wan.change,) if wan.change else ()
            result.append((wan.name, wan.piece, wan.pieces, Piece(key, target.part, target.parts, changes)))
    return result


def _joined(pieces: list[Piece]) -> tuple[Piece, ...]:
    """The pieces, neighbours in one tensor as one, a whole tensor as such."""
    found = [pieces[0]]
    for piece in pieces[1:]:
        last = found[-1]
        if (last.key, last.parts, last.part + last.shares) == (piece.key, piece.parts, piece.part):
            found[-1] = replace(last, shares=last.shares + piece.shares)
        else:
            found.append(piece)
    return tuple(Piece(one.key, changes=one.changes) if one.shares == one.parts else one for one in found)


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
