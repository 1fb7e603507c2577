"""Which of the tables that a PyTorch file may hold is the model: training files have it beside an optimizer's state, an
average of its weights, and numbers."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from .errors import Problem
from .tensor_info import TensorInfo
from .unwrapping import choose, is_average, is_counter, is_training, locate

Table = dict[str, torch.Tensor]

# where trainers keep what is no model, and the average of the weights as well
CALLBACK = "callback"
# dicts and lists in one another; a training file has three or four
DEEPEST = 8


def model_table(path: Path, data: object) -> tuple[Table, list[str], list[str]]:
    """(key -> tensor of the one model in what torch has read of a file, notes on that, those of them to say aloud).

    Raises CheckpointError if there is none, or more than one and nothing that tells which, and for tensors that no
    other file could have.
    """
    tables: dict[str, Table] = {}
    once = set()
    for name, table in _tables(data, "", DEEPEST, {}):
        # before the first steps of a training the average is the model itself
        which = id(table), is_average(name)
        if which not in once and (CALLBACK not in name.lower() or is_average(name)):
            tables[name] = table
            once.add(which)
    models = {}
    for name, table in tables.items():
        families = locate({key: info_of(tensor, path) for key, tensor in table.items()})
        if families:
            models[name] = next(iter(families.values()))
    if not models:
        models = dict.fromkeys(tables)
    if not tables:
        raise Problem(path.name, "", "has no table of named tensors", "Pick the file of a model.").error()
    name, aloud = choose(models, path.name)
    others = ", ".join(repr(other) for other in tables if other != name)
    notes = [*aloud, f"beside the model, {others} of the file are not read"] if others else aloud
    for key, tensor in tables[name].items():
        cause = _unlike_others(tensor)
        if cause:
            raise Problem(path.name, key, cause, "Get the model as .safetensors.").error()
    return tables[name], notes, aloud


def _unlike_others(tensor: torch.Tensor) -> str:
    """Why a tensor is not plain values that are in the file, "" if it is. One that is expanded from few values may be
    any size; one that PyTorch has quantized may end the process when its bytes are looked at."""
    if tensor.is_quantized:
        return f"is quantized by PyTorch itself ({str(tensor.dtype).removeprefix('torch.')}), which is not read"
    ordinary = tensor.layout is torch.strided and tensor.device.type == "cpu"
    if not ordinary or tensor.nbytes > tensor.untyped_storage().nbytes():
        return "is sparse, or has no data of its own for every value"
    return ""


def info_of(tensor: torch.Tensor, path: Path) -> TensorInfo:
    return TensorInfo(
        tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), tensor.numel() * tensor.element_size(), path
    )


def _tables(data: object, name: str, depth: int, seen: dict[int, Table]) -> Iterator[tuple[str, Table]]:
    """Where it is in `data` -> its tensors, of every dict with named ones; `seen`: id of what was looked at
    -> its tensors, as a pickle may hold a thing in itself, or under two names."""
    if not isinstance(data, dict | list | tuple) or not depth:
        return
    if id(data) in seen:
        if seen[id(data)]:
            yield name, seen[id(data)]
        return
    seen[id(data)] = {}
    entries = dict(data) if isinstance(data, Mapping) else dict(enumerate(data))
    tensors = {key: value for key, value in entries.items() if isinstance(value, torch.Tensor)}
    if all(isinstance(key, str) and key.isprintable() for key in tensors) and not all(map(is_counter, tensors)):
        seen[id(data)] = tensors
        yield name, tensors
    for key, value in entries.items():
        if not is_training(str(key)) or CALLBACK in str(key).lower():
            yield from _tables(value, f"{name}.{key}".lstrip("."), depth - 1, seen)
