"""Tensors of ComfyUI's model that a family's files leave to others: to the code that reads them, or to files beside."""

from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..families.family import Companion
from ..families.recognise import Told
from .errors import Problem
from .tensor_info import TensorInfo
from .torch_file import read_tensor


@dataclass
class Added:
    """`values`: by key; `problems`: those that are nowhere."""

    values: dict[str, torch.Tensor] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def infos(self, file: Path) -> dict[str, TensorInfo]:
        """As if they were of `file`."""
        return {
            key: TensorInfo(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), tensor.nbytes, file)
            for key, tensor in self.values.items()
        }


def find_added(path: Path, told: Told, prefix: str, there: dict[str, TensorInfo]) -> Added:
    """What the checkpoint at `path` lacks of these. Raises CheckpointError if a file beside it is not what it is called
    like."""
    added = Added()
    for name, values in told.naming.computed.items():
        if f"{prefix}{name}" not in there:
            added.values[f"{prefix}{name}"] = values()
            added.notes.append(f"{name} is not in the file, and computed for ComfyUI's model")
    for companion in told.family.companions:
        key, place = f"{prefix}{companion.name}", path.absolute().parent / companion.file
        if key in there:
            continue
        if not place.is_file():
            added.problems.append(_nowhere(companion, path, place))
            continue
        added.values[key] = read_tensor(place, companion.shape, f"Download it from {companion.source}.")
        added.notes.append(f"{companion.name} is not in the file, and taken from {companion.file} beside it")
    return added


def _nowhere(companion: Companion, path: Path, place: Path) -> Problem:
    cause = f"is not there, and {companion.file} is not beside the model"
    remedy = f"Download {companion.file} of {companion.source} and save it as {place}."
    return Problem(path.name, companion.name, cause, remedy)
