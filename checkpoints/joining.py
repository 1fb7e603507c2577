"""Layers of a file that are one in ComfyUI (q, k and v; Flux's linear1): their rows and scales, one below the other."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from ..common.row_slice import RowSlice
from ..families.rules import Rule, Target, targets
from .errors import Problem
from .layer_markers import DAMAGED
from .tensor_info import WEIGHT, TensorInfo
from .weights import QuantizedLayer, StoredWeight, Weights

INCOMPLETE = "The file is incomplete: download it again."
OTHER_FORMAT = "Get the model as int8 or fp8 with a scale per channel."
# has one scale for all rows
ONE_SCALE = "nvfp4"
UNLESS = ", which is refused unless those that become one have the same scale"

Layers = Mapping[str, QuantizedLayer]


@dataclass(frozen=True)
class Source:
    """What rows of a tensor of ComfyUI's are made of: the tensor `name` of the file, a layer's by its weight."""

    name: str
    target: Target

    @property
    def layer(self) -> str:
        return self.name.removesuffix(WEIGHT)

    @property
    def rows(self) -> RowSlice:
        """Of the file's tensor."""
        return self.target.source

    @property
    def place(self) -> RowSlice:
        """In ComfyUI's tensor."""
        return self.target.place


def find_problems(
    table: Iterable[Rule], layers: Layers, plain: Mapping[str, str], tensors: Mapping[str, TensorInfo]
) -> tuple[list[Problem], list[str]]:
    """(what is wrong, notes) of joining by `table`, as far as headers tell. plain: name -> key of the unquantized."""
    keys = {**plain, **{f"{name}{WEIGHT}": layer.weight_key for name, layer in layers.items()}}
    problems = []
    joined: dict[str, list[set[str]]] = {}
    for name, sources in _places(table, keys).items():
        found = _twice(name, sources) or _unfit(name, sources, layers)
        if found is not None:
            source, cause, remedy = found
            key = keys[source.name]
            problems.append(Problem(tensors[key].file.name, key, cause, remedy))
        elif sources[0].layer in layers:
            joined.setdefault(layers[sources[0].layer].format, []).append({source.name for source in sources})
    return problems, [note for kind, made_of in joined.items() for note in _note(kind, made_of)]


def join(weights: Weights, table: Iterable[Rule], layers: Layers, file: str) -> Weights:
    """`weights` under ComfyUI's names. layers: those of `weights.quantized`. Raises CheckpointError if rows of a
    layer are not there, or if those of a quantized one differ in what they have one of (nvfp4's scale)."""
    result = Weights(metadata=weights.metadata, spiece_model=weights.spiece_model, notes=weights.notes)
    for name, sources in _places(table, [*weights.plain, *_weights(weights.quantized)]).items():
        count = sources[0].place.count
        if len(sources) != count:
            there = ", ".join(source.name for source in sources)
            cause = f"is made of {count} tensors, of which only {there} {'is' if len(sources) == 1 else 'are'} there"
            raise Problem(file, name, cause, INCOMPLETE).error()
        if sources[0].layer in weights.quantized:
            layer = name.removesuffix(WEIGHT)
            result.quantized[layer] = _joined(layer, sources, weights, layers, file)
        else:
            tensors = [source.target.take(weights.plain[source.name]) for source in sources]
            result.plain[name] = tensors[0] if count == 1 else torch.cat(tensors)
    return result


def _places(table: Iterable[Rule], tensor_names: Iterable[str]) -> dict[str, list[Source]]:
    """ComfyUI's tensor -> what it is made of, in order."""
    found: dict[str, list[Source]] = {}
    for name in tensor_names:
        for target in targets(table, name):
            found.setdefault(target.name, []).append(Source(name, target))
    return {name: sorted(sources, key=lambda source: source.place) for name, sources in found.items()}


def _weights(layers: Iterable[str]) -> list[str]:
    return [f"{layer}{WEIGHT}" for layer in layers]


def _twice(name: str, sources: list[Source]) -> tuple[Source, str, str] | None:
    """As _unfit, for a place that two tensors have."""
    for before, source in itertools.pairwise(sources):
        if before.place.index == source.place.index:
            cause = f"and {before.name} are both {name} in ComfyUI's model"
            return source, cause, "The file mixes two ways of naming: download it again."
    return None


def _unfit(name: str, sources: list[Source], layers: Layers) -> tuple[Source, str, str] | None:
    """(which source, why it is no part of one quantized layer, remedy); None if all are, or none is quantized."""
    first = next((source for source in sources if source.layer in layers), None)
    if first is None:
        return None
    format_name, (_, columns) = layers[first.layer].format, layers[first.layer].shape
    one = f"ComfyUI has both in one layer, {name.removesuffix(WEIGHT)}"
    for source in sources:
        if source.layer not in layers:
            return source, f"is not quantized, {first.layer} is {format_name}: {one}", OTHER_FORMAT
        layer = layers[source.layer]
        rows, together = layer.shape[0] // source.rows.count, layer.stored.encoding.rows
        if layer.format != format_name:
            return source, f"is {layer.format}, {first.layer} is {format_name}: {one}", OTHER_FORMAT
        if layer.shape[1] != columns:
            return source, f"has {layer.shape[1]} input channels, {first.layer} has {columns}: {one}", DAMAGED
        if layer.shape[0] % source.rows.count:
            return source, f"has {layer.shape[0]} rows, which do not make {source.rows.count} equal parts", DAMAGED
        if rows % together and source is not sources[-1]:
            cause = f"has {rows} {format_name} rows, which is not a multiple of {together}"
            return source, f"{cause}: ComfyUI joins them with others in {name.removesuffix(WEIGHT)}", OTHER_FORMAT
    return None


def _note(kind: str, made_of: list[set[str]]) -> list[str]:
    """made_of: of every layer of ComfyUI's in the format `kind`, the file's layers."""
    several = [names for names in made_of if len(names) > 1]
    if not several:
        return []
    count = sum(map(len, several))
    return [
        f"{count} {kind} layers become {len(several)} at load, as ComfyUI has them{UNLESS if kind == ONE_SCALE else ''}"
    ]


def _joined(layer: str, sources: list[Source], weights: Weights, layers: Layers, file: str) -> StoredWeight:
    stored = [weights.quantized[source.layer].rows([source.rows]) for source in sources]
    if len(stored) == 1:
        return stored[0]
    first = stored[0]
    encoding = layers[sources[0].layer].stored.encoding
    axis, tensors = encoding.row_axis, {}
    for name, tensor in first.tensors.items():
        of_all = [rows.tensors[name] for rows in stored]
        if name in encoding.row_vectors:
            tensors[name] = torch.cat(of_all)
        elif not _has_rows(tensor, first, axis) and all(torch.equal(tensor, other) for other in of_all):
            tensors[name] = tensor
        elif tensor.ndim == 2:
            tensors[name] = torch.cat([_by_row(rows.tensors[name], rows, axis) for rows in stored], axis)
        else:
            odd = next(i for i, other in enumerate(of_all) if not torch.equal(tensor, other))
            cause = f"has another {name} than {sources[0].layer}, and ComfyUI has both in one layer, {layer}"
            raise Problem(file, layers[sources[odd].layer].weight_key, cause, OTHER_FORMAT).error()
    return StoredWeight(first.format, (sum(rows.shape[0] for rows in stored), first.shape[1]), tensors)


def _has_rows(tensor: torch.Tensor, rows: StoredWeight, axis: int) -> bool:
    return tensor.ndim == 2 and (tensor.shape[axis] > 1 or rows.shape[0] == 1)


def _by_row(tensor: torch.Tensor, rows: StoredWeight, axis: int) -> torch.Tensor:
    """One scale for a whole rows -> one for each of its rows."""
    return tensor if tensor.shape[axis] > 1 else tensor.expand(rows.shape[0], *tensor.shape[1:])
