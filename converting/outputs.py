"""Which tensors a converted model has, under the names of a dialect, and which rows of which source they are."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from ..checkpoints import Checkpoint
from ..checkpoints.encodings import COMFYUI, LIGHTX2V, X2V
from ..checkpoints.layers import SPIECE
from ..common.row_slice import ALL, RowSlice, shape_of, take
from ..families.family import T5
from ..families.rules import targets
from .errors import ConvertError

# what is no tensor of ComfyUI's models: Wan's own files have a logit scale, ComfyUI's carry the tokenizer
ALSO_THERE = {LIGHTX2V: ("log_scale", "logit_scale"), COMFYUI: (SPIECE,), X2V: (SPIECE,)}
NO_TOKENIZER = (
    "this file has no tokenizer. Put spiece.model of google/umt5-xxl beside it, and load it with Load Quantized T5"
)


@dataclass(frozen=True)
class SourceRows:
    """The rows `rows` of the source's tensor `key`, after each of `changes`."""

    key: str
    rows: RowSlice = ALL
    changes: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = ()

    def change(self, tensor: torch.Tensor) -> torch.Tensor:
        for change in self.changes:
            tensor = change(tensor)
        return tensor


@dataclass(frozen=True)
class Output:
    """A tensor of the converted model: the rows of its sources, one below the other. `shape`: of the whole. `cut_from`:
    the tensor under ComfyUI's name, if the dialect calls it otherwise or has its rows apart."""

    name: str
    sources: tuple[SourceRows, ...]
    shape: tuple[int, ...]
    cut_from: "Output | None" = None

    @property
    def whole(self) -> "Output":
        """What LoRAs and calibrations know it as."""
        return self.cut_from or self

    def cut(self, values: torch.Tensor) -> torch.Tensor:
        """Out of the values of `whole` those of this one."""
        if self.cut_from is None or self.sources == self.cut_from.sources:
            return values
        return take(values, [source.rows for source in self.sources])


def outputs(checkpoint: Checkpoint, dialect: str) -> dict[str, Output]:
    """Name in the converted model -> what it is made of; a quantized weight of the source goes by the key of its codes.
    Raises ConvertError if a tensor that the dialect has in one piece is not all there."""
    found: dict[str, dict[RowSlice, SourceRows]] = {}
    for key, name in _source_names(checkpoint, dialect).items():
        for target, rows, source in _places(checkpoint, dialect, key, name):
            found.setdefault(target, {})[rows] = source
    shapes = {key: info.shape for key, info in checkpoint.tensors.items()}
    shapes.update({layer.weight_key: layer.stored.shape for layer in checkpoint.layers.values()})
    cut = _cut_from(checkpoint, dialect, shapes)
    result = {}
    for name, sources in found.items():
        whole = next(iter(sources)).count
        if len(sources) < whole:
            raise ConvertError(
                f"{checkpoint.path.name}: {name} is made of {whole} tensors of which {len(sources)} are there. "
                "The file is incomplete: download it again."
            )
        joined = _joined([sources[rows] for rows in sorted(sources)])
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
                f"{checkpoint.path.name}: {key} has shape {list(shape)}, which is not the {theirs[0].source.count} "
                f"equal parts that LightX2V has of it. Convert this model to the dialect {COMFYUI} or {X2V}."
            )
        if [target.name for target in theirs] != [name]:
            found[key] = Output(ours, (SourceRows(key),), shape)
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
    """What to say of tensors that the dialect has no place for, and of a tokenizer that the file will not have."""
    count = 0 if _keeps_settings(checkpoint, dialect) else len(checkpoint.settings)
    told = [f"{count} attention settings are left out"] if count else []
    if checkpoint.kind == T5 and (dialect == LIGHTX2V or SPIECE not in checkpoint.tensors):
        told.append(NO_TOKENIZER)
    return told


def _keeps_settings(checkpoint: Checkpoint, dialect: str) -> bool:
    """Whether the modules that attention settings are of have the same names in the dialect."""
    return dialect != LIGHTX2V and not checkpoint.naming.table


def _places(checkpoint: Checkpoint, dialect: str, key: str, name: str) -> list[tuple[str, RowSlice, SourceRows]]:
    """[(name in the dialect, rows of that tensor, what becomes them)] of one tensor of the source."""
    if dialect == LIGHTX2V and checkpoint.naming.is_lightx2vs:
        _, found = checkpoint.told.lightx2v_targets(name)
        return [(one.name, one.place, SourceRows(key, one.source)) for one in found]
    result = []
    for target in targets(checkpoint.naming.table, name):
        changes = (target.change,) if target.change else ()
        if dialect != LIGHTX2V:
            result.append((target.name, target.place, SourceRows(key, target.source, changes)))
            continue
        for wan in targets(checkpoint.told.variant.lightx2v.table, target.name):
            changes += (wan.change,) if wan.change else ()
            result.append((wan.name, wan.place, SourceRows(key, target.source, changes)))
    return result


def _joined(sources: list[SourceRows]) -> tuple[SourceRows, ...]:
    """The sources, neighbours in one tensor as one, a whole tensor as such."""
    found = [sources[0]]
    for source in sources[1:]:
        last = found[-1]
        rows = last.rows.with_next(source.rows) if last.key == source.key else None
        if rows is not None:
            found[-1] = replace(last, rows=rows)
        else:
            found.append(source)
    return tuple(found)


def _shape(sources: tuple[SourceRows, ...], shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    """shapes: of every tensor of the source, (N, K) of a quantized layer by the key of its codes."""
    made = []
    for source in sources:
        shape = shape_of(shapes[source.key], [source.rows])
        made.append(tuple(source.change(torch.empty(shape, device="meta")).shape))
    return made[0] if len(made) == 1 else (sum(shape[0] for shape in made), *made[0][1:])
