"""A LoRA file's tensors -> the patches that core makes of them, and what of the file has no use in this model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import comfy.lora
import comfy.lora_convert
import torch
from comfy.weight_adapter import WeightAdapterBase

from .deltas import Delta, once
from .errors import LoRAError
from .finite import check_numbers
from .parts import Parts, check_parts, misfits
from .places import Places, Target, bias_of
from .shapes import BIAS, WHOLE
from .spellings import spelled, way

PLACE = "place"
SHOWN = 5  # keys of each kind in a report; a file for another model has thousands
# what a layer's factors share where a file spells them in two ways
SHARED = ("alpha", "dora_scale")


@dataclass
class Translated:
    """`patches`: target -> what core's add_patches takes for it. `parts`: target -> the suffixes it was made of.
    `unmatched`: keys of the file -> the layer they name, which the model does not have. `unused`: keys whose layer is
    there -> why they are not used. `keys`: of the whole file."""

    keys: int = 0
    patches: dict[Target, object] = field(default_factory=dict)
    parts: dict[Target, frozenset[str]] = field(default_factory=dict)
    unmatched: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)
    misfits: int = 0

    @property
    def used(self) -> int:
        return self.keys - len(self.unmatched) - len(self.unused)

    def lines(self, places: Places) -> list[str]:
        """What is not used and why, with the nearest layer of `places` for a layer that is not there."""
        absent = {
            key: f"has no place in this model, the nearest is {places.nearest(layer)}"
            for key, layer in islice(self.unmatched.items(), SHOWN)
        }
        return [*_lines(absent, len(self.unmatched)), *_lines(self.unused, len(self.unused))]


def translate(file: str, tensors: Mapping[str, torch.Tensor], places: Places) -> Translated:
    """`file`: its name, for messages. Raises LoRAError for a file of which nothing fits this model, with a matrix
    missing that belongs to another, an alpha of several values, numbers that are none or that 16 bits cannot hold, and
    two different changes of one weight."""
    tensors = comfy.lora_convert.convert_lora(tensors)
    made = Translated(len(tensors))
    found: list[Delta] = []
    for target, parts in _by_layer(tensors, places, made):
        check_parts(file, parts)
        _drop_misfits(target, parts, places, made)
        check_numbers(file, parts)
        deltas = list(_deltas(target, parts))
        found += deltas
        used = {key for delta in deltas for key in delta.keys}
        made.unused |= {key: "goes with nothing else in the file" for key, _ in parts.values() if key not in used}
    kept, again = once(file, found, places)
    used = {key for delta in kept for key in delta.keys}
    made.unused |= {key: why for key, why in again.items() if key not in used}
    made.patches = {delta.target: delta.patch for delta in kept}
    made.parts = {delta.target: delta.suffixes for delta in kept}
    if not made.patches:
        raise LoRAError(_nothing(file, places, made))
    return made


def _lines(reasons: Mapping[str, str], count: int) -> list[str]:
    lines = [f"not used: {key} {reason}" for key, reason in islice(reasons.items(), SHOWN)]
    return [*lines, f"not used: {count - SHOWN} more keys"] if count > SHOWN else lines


def _by_layer(tensors: Mapping[str, torch.Tensor], places: Places, made: Translated) -> Iterator[tuple[Target, Parts]]:
    """What the file has for each layer, once for each name and each way to spell its factors."""
    layers: dict[str, dict[str, Parts]] = {}
    for key, tensor in tensors.items():
        named = spelled(key)
        if named is None:
            made.unused[key] = "is no tensor of a LoRA"
            continue
        layer, suffix = named
        if places.find(layer) is None:
            made.unmatched[key] = layer
            continue
        # peft keeps a magnitude per row as a vector, core as a column
        vector = suffix == "dora_scale" and tensor.ndim == 1
        parts = layers.setdefault(layer, {}).setdefault(way(key), {})
        parts[suffix] = (key, tensor.unsqueeze(1) if vector else tensor)
    for layer, ways in layers.items():
        cores = ways.pop("", {})
        if "lora_up.weight" in cores or not ways:
            yield places.find(layer), cores
            cores = {suffix: cores[suffix] for suffix in SHARED if suffix in cores}
        for parts in ways.values():
            yield places.find(layer), cores | parts
            cores = {suffix: cores[suffix] for suffix in SHARED if suffix in cores}


def _deltas(target: Target, parts: Parts) -> Iterator[Delta]:
    """The factors' product, and each tensor that is added or put in place as it is."""
    alone = [suffix for suffix in (*WHOLE, *BIAS) if suffix in parts]
    for suffixes in ([suffix for suffix in parts if suffix not in alone], *([suffix] for suffix in alone)):
        keys = tuple(parts[suffix][0] for suffix in suffixes)
        if suffixes and suffixes[0] in BIAS:
            yield Delta(bias_of(target), ("diff", (parts[suffixes[0]][1],)), keys, frozenset(suffixes))
            continue
        held = {f"{PLACE}.{suffix}": parts[suffix][1] for suffix in suffixes}
        for name, patch in comfy.lora.load_lora(held, {PLACE: target}, log_missing=False).items():
            yield Delta(name, patch, keys, frozenset(suffixes))


def _drop_misfits(target: Target, parts: Parts, places: Places, made: Translated) -> None:
    """Take out of `parts` what has another shape than its place in the model, or no place."""
    for suffixes, reason, is_size in list(misfits(target, parts, places)):
        made.unused |= {parts[suffix][0]: reason for suffix in suffixes}
        made.misfits += is_size
        for suffix in suffixes:
            del parts[suffix]


def _nothing(file: str, places: Places, made: Translated) -> str:
    if made.misfits:
        key, reason = next((key, reason) for key, reason in made.unused.items() if reason.startswith("is for a tensor"))
        return f"{file} was made for a model of another size: {key} {reason}. Pick a LoRA for this model's size."
    if made.unmatched:
        key, layer = next(iter(made.unmatched.items()))
        return (
            f"{file} has nothing for this model: its keys are like {key}, the model's layers like "
            f"{places.nearest(layer)}. Pick a LoRA that was made for it."
        )
    key, reason = next(iter(made.unused.items()), ("it", "holds no tensor"))
    return f"{file} has nothing for this model: {key} {reason}. Pick a LoRA that was made for it."


def is_adapter(patch: object) -> bool:
    """Whether core holds it as factors, not as a tensor that is added."""
    return isinstance(patch, WeightAdapterBase)
