"""Layers of a file that are one in ComfyUI (q, k and v; Flux's linear1): their rows and scales, one below the other."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch

from ..families.rules import Rule, Target, targets
from .errors import Problem
from .layers import DAMAGED, WEIGHT
from .tensor_info import TensorInfo
from .weights import QuantizedLayer, StoredWeight, Weights

INCOMPLETE = "The file is incomplete: download it again."
OTHER_FORMAT = "Get the model as int8 or fp8 with a scale per channel."
# has one scale for all rows
ONE_SCALE = "nvfp4"
UNLESS = ", which is refused unless those that become one have the same scale"

Layers = Mapping[str, QuantizedLayer]


@dataclass(frozen=True)
class Part:
    """The tensor `name`, a layer's by its weight, as it is before; `target`: where in ComfyUI's tensor it goes."""

    name: str
    target: Target

    @property
    def layer(self) -> str:
        return self.name.removesuffix(WEIGHT)


def find_problems(
    table: Iterable[Rule], layers: Layers, plain: Mapping[str, str], tensors: Mapping[str, TensorInfo]
) -> tuple[list[Problem], list[str]]:
    """(what is wrong, notes) of joining by `table`, as far as headers tell. plain: name -> key of the unquantized."""
    keys = {**plain, **{f"{name}{WEIGHT}": layer.weight_key for name, layer in layers.items()}}
    problems = []
    joined: dict[str, list[set[str]]] = {}
    for name, parts in _places(table, keys).items():
        found = _twice(name, parts) or _unfit(name, parts, layers)
        if found is not None:
            part, cause, remedy = found
            key = keys[part.name]
            problems.append(Problem(tensors[key].file.name, key, cause, remedy))
        elif parts[0].layer in layers:
            joined.setdefault(layers[parts[0].layer].format, []).append({part.name for part in parts})
    return problems, [note for kind, made_of in joined.items() for note in _note(kind, made_of)]


def join(weights: Weights, table: Iterable[Rule], layers: Layers, file: str) -> Weights:
    """`weights` under ComfyUI's names. layers: those of `weights.quantized`. Raises CheckpointError if a piece of a
    layer is not there, or if pieces of a quantized one differ in what they have one of (nvfp4's scale)."""
    result = Weights(metadata=weights.metadata, spiece_model=weights.spiece_model, notes=weights.notes)
    for name, parts in _places(table, [*weights.plain, *_weights(weights.quantized)]).items():
        count = parts[0].target.pieces
        if len(parts) != count:
            there = ", ".join(part.name for part in parts)
            cause = f"is made of {count} tensors, of which only {there} {'is' if len(parts) == 1 else 'are'} there"
            raise Problem(file, name, cause, INCOMPLETE).error()
        if parts[0].layer in weights.quantized:
            layer = name.removesuffix(WEIGHT)
            result.quantized[layer] = _joined(layer, parts, weights, layers, file)
        else:
            tensors = [part.target.take(weights.plain[part.name]) for part in parts]
            result.plain[name] = tensors[0] if count == 1 else torch.cat(tensors)
    return result


def _places(table: Iterable[Rule], tensor_names: Iterable[str]) -> dict[str, list[Part]]:
    """ComfyUI's tensor -> what it is made of, in order."""
    found: dict[str, list[Part]] = {}
    for name in tensor_names:
        for target in targets(table, name):
            found.setdefault(target.name, []).append(Part(name, target))
    return {name: sorted(parts, key=lambda part: part.target.piece) for name, parts in found.items()}


def _weights(layers: Iterable[str]) -> list[str]:
    return [f"{layer}{WEIGHT}" for layer in layers]


def _twice(name: str, parts: list[Part]) -> tuple[Part, str, str] | None:
    """As _unfit, for a place that two tensors have."""
    for before, part in itertools.pairwise(parts):
        if before.target.piece == part.target.piece:
            cause = f"and {before.name} are both {name} in ComfyUI's model"
            return part, cause, "The file mixes two ways of naming: download it again."
    return None


def _unfit(name: str, parts: list[Part], layers: Layers) -> tuple[Part, str, str] | None:
    """(which part, why it is no piece of one quantized layer, remedy); None if all are, or none is quantized."""
    first = next((part for part in parts if part.layer in layers), None)
    if first is None:
        return None
    format_name, (_, columns) = layers[first.layer].format, layers[first.layer].shape
    one = f"ComfyUI has both in one layer, {name.removesuffix(WEIGHT)}"
    for part in parts:
        if part.layer not in layers:
            return part, f"is not quantized, {first.layer} is {format_name}: {one}", OTHER_FORMAT
        layer = layers[part.layer]
        rows, together = layer.shape[0] // part.target.parts, layer.stored.encoding.rows
        if layer.format != format_name:
            return part, f"is {layer.format}, {first.layer} is {format_name}: {one}", OTHER_FORMAT
        if layer.shape[1] != columns:
            return part, f"has {layer.shape[1]} input channels, {first.layer} has {columns}: {one}", DAMAGED
        if layer.shape[0] % part.target.parts:
            return part, f"has {layer.shape[0]} rows, which do not make {part.target.parts} equal parts", DAMAGED
        if rows % together and part is not parts[-1]:
            cause = f"has {rows} {format_name} rows, which only in multiples of {together} can be joined with others"
            return part, f"{cause}, as ComfyUI has them in {name.removesuffix(WEIGHT)}", OTHER_FORMAT
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


def _rows_of(part: Part, weights: Weights, layers: Layers) -> StoredWeight:
    """The rows that go to this part's place."""
    stored, target = weights.quantized[part.layer], part.target
    if target.parts == 1:
        return stored
    share = replace(layers[part.layer], part=target.part, parts=target.parts)
    return StoredWeight(stored.format, (stored.shape[0] // target.parts, stored.shape[1]), share.share(stored.tensors))


def _joined(layer: str, parts: list[Part], weights: Weights, layers: Layers, file: str) -> StoredWeight:
    pieces = [_rows_of(part, weights, layers) for part in parts]
    if len(pieces) == 1:
        return pieces[0]
    first = pieces[0]
    axis = layers[parts[0].layer].stored.encoding.row_axis
    tensors = {}
    for name, tensor in first.tensors.items():
        of_all = [piece.tensors[name] for piece in pieces]
        if not _has_rows(tensor, first, axis) and all(torch.equal(tensor, other) for other in of_all):
            tensors[name] = tensor
        elif tensor.ndim == 2:
            tensors[name] = torch.cat([_by_row(piece.tensors[name], piece, axis) for piece in pieces], axis)
        else:
            odd = next(i for i, other in enumerate(of_all) if not torch.equal(tensor, other))
            cause = f"has another {name} than {parts[0].layer}, and ComfyUI has both in one layer, {layer}"
            raise Problem(file, layers[parts[odd].layer].weight_key, cause, OTHER_FORMAT).error()
    return StoredWeight(first.format, (sum(piece.shape[0] for piece in pieces), first.shape[1]), tensors)


def _has_rows(tensor: torch.Tensor, piece: StoredWeight, axis: int) -> bool:
    return tensor.ndim == 2 and (tensor.shape[axis] > 1 or piece.shape[0] == 1)


def _by_row(tensor: torch.Tensor, piece: StoredWeight, axis: int) -> torch.Tensor:
    """One scale for a whole piece -> one for each of its rows."""
    return tensor if tensor.shape[axis] > 1 else tensor.expand(piece.shape[0], *tensor.shape[1:])
