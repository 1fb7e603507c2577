"""Experts of Wan 2.2: which one a MODEL is, and which tensors of a LoRA file are for it."""

import os
from collections.abc import Iterator, Mapping

import torch

from ..checkpoints.expert_names import HIGH, LOW, expert_of
from .errors import LoRAError
from .key_formats import EXPERTS, adapter, split_key, unwrapped

EXPERT_CHOICES = ("auto", HIGH, LOW)
AUTO = EXPERT_CHOICES[0]
SAY = "The input expert of Load LoRA (any format) does, or the word low or high in the model file's name."


def expert_in(patcher) -> str | None:
    """HIGH or LOW if the MODEL was loaded as that expert or its file's name says so, else None."""
    told = getattr(patcher.model, "x2v_expert", None)
    return told or next(filter(None, map(expert_of, _paths(patcher.cached_patcher_init))), None)


def tensors_for(
    file: str, tensors: Mapping[str, torch.Tensor], expert: str | None, asked: str = AUTO
) -> tuple[Mapping[str, torch.Tensor], list[str]]:
    """(the tensors for one expert, lines for the report). expert: the MODEL's, None if unknown. asked: the user's
    choice, of EXPERT_CHOICES. All tensors of a file that names no expert are returned. Raises LoRAError if the file
    has none for the expert that is asked for."""
    marks = {key: _mark(key) for key in tensors}
    named = {mark for mark in marks.values() if mark is not None}
    if not named:
        return tensors, []
    if named == {LOW}:  # diffusers' transformer and transformer_2
        marks = {key: mark or HIGH for key, mark in marks.items()}
    there = set(marks.values()) - {None}
    wanted = expert if asked == AUTO else asked
    if asked != AUTO and asked not in there:
        raise LoRAError(
            f"{file} has nothing for the {asked}-noise expert, only for the {there.pop()}-noise one. Pick the expert "
            f"'{AUTO}' on the node, or another LoRA."
        )
    taken = wanted if wanted in there else HIGH if HIGH in there else LOW
    used = {key: tensor for key, tensor in tensors.items() if marks[key] in (taken, None)}
    return used, [_told(len(used), len(tensors), taken, wanted, len(there) == 1)]


def _told(used: int, total: int, taken: str, wanted: str | None, alone: bool) -> str:
    said = f"{used} of {total} keys are for the {taken}-noise expert and used"
    if wanted is None:
        return f"{said}; the model does not say which expert it is." + ("" if alone else f" {SAY}")
    if taken != wanted:
        return f"{said}, though the model is the {wanted}-noise expert."
    return f"{said}."


def _mark(key: str) -> str | None:
    """The expert that a key names, as a prefix of its layer or as the name of peft's adapter."""
    named = split_key(key)
    words = [] if named is None else [EXPERTS[word] for word, _ in unwrapped(named[0]) if word in EXPERTS]
    return words[0] if words else expert_of(adapter(key))


def _paths(value: object) -> Iterator[str]:
    """Absolute paths in nested arguments (those with which core reloads a model)."""
    if isinstance(value, str) and os.path.isabs(value):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _paths(item)
