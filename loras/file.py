"""Reads a LoRA file: its tensors, and alphas from its metadata or from peft's configuration beside it."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import comfy.utils
import torch

from ..checkpoints.errors import CheckpointError, Problem
from ..checkpoints.safetensors_header import read_header
from ..checkpoints.tables import DEEPEST, model_table
from ..checkpoints.torch_file import loaded
from .alphas import alphas_of
from .errors import LoRAError

SAFETENSORS = (".safetensors", ".sft")
ELSEWHERE = "Get the LoRA as .safetensors."


class Tensors(dict):
    """Key -> tensor. `notes`: lines for the report on how they were read."""

    notes: tuple[str, ...] = ()


def read_lora(path: Path) -> Tensors:
    """Raises LoRAError for a file that is not there, cannot be read or holds no named tensors."""
    if not os.path.isfile(path):
        raise LoRAError(f"There is no LoRA at {path}. Check the path.")
    try:
        tensors, metadata = _read(path)
    except CheckpointError as error:
        raise LoRAError(_told(path, error.problem)) from error
    except OSError as error:
        raise LoRAError(
            f"{path.name} cannot be read: {error.strerror or error}. Check its rights and the disk."
        ) from error
    made = Tensors(tensors)
    alphas = alphas_of(path, metadata, tensors)
    if alphas:
        made |= alphas.tensors
        made.notes = (f"{len(alphas.tensors)} layers have their alpha from {alphas.source}",)
    return made


def _read(path: Path) -> tuple[dict[str, torch.Tensor], Mapping[str, str]]:
    if path.suffix.lower() in SAFETENSORS:
        metadata = read_header(path).metadata
        return comfy.utils.load_torch_file(str(path), safe_load=True), metadata
    data = loaded(path)
    tensors = model_table(path, data)[0]
    return {**tensors, **_numbers(data, tensors)}, {}


def _numbers(data: object, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The plain numbers (alphas) in the table of a pickle that holds `tensors`, as tensors."""
    for table in _dicts(data, DEEPEST):
        if all(table.get(key) is tensor for key, tensor in tensors.items()):
            return {
                key: torch.tensor(value)
                for key, value in table.items()
                if isinstance(key, str) and isinstance(value, int | float) and not isinstance(value, bool)
            }
    return {}


def _dicts(data: object, depth: int) -> Iterator[Mapping]:
    if isinstance(data, Mapping):
        yield data
    if depth and isinstance(data, Mapping | list | tuple):
        for item in data.values() if isinstance(data, Mapping) else data:
            yield from _dicts(item, depth - 1)


def _told(path: Path, problem: Problem | None) -> str:
    """The message for a checkpoint's problem, with "LoRA" where it says "model"."""
    if problem is None:
        return f"{path.name} is damaged or is no LoRA. Download it again."
    remedy = ELSEWHERE if "model" in problem.remedy or "GGUF" in problem.remedy else problem.remedy
    if "named tensors" in problem.cause:
        remedy = "Pick the file of a LoRA."
    cause = re.sub(r"\b(the|a|no) model\b", r"\1 LoRA", problem.cause)
    return f"{path.name}{f': {problem.key}' if problem.key else ''} {cause}. {remedy}"
