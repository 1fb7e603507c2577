"""A LoRA file's tensors -> the patches that core makes of them, and what of the file has no use in this model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import comfy.lora
import comfy.lora_convert
import torch
from comfy.weight_adapter import WeightAdapterBase

from .components import Parts, check_parts, misfits
from .deltas import Delta, once
from .errors import LoRAError
from .finite import check_numbers, check_types, scales
from .key_formats import SCALE, TEXT_ENCODER, spelled, way
from .shapes import BIAS, WHOLE, as_core
from .targets import Places, Target, bias_of

PLACE = "place"
SHOWN = 5  # keys of each kind in a report; a file for another model has thousands
# what a layer's factors share where a file spells them in two ways
SHARED = ("alpha", "dora_scale")


@dataclass
class Translated:
    """`patches`: target -> what core's add_patches takes for it. `parts`: target -> the suffixes it was made of.
    `unmatched`: keys of the file -> the layer they name, which the model does not have. `unused`: keys whose layer is
    there -> why they are not used; `idle`: those of them that fit and change nothing. `keys`: of the whole file."""

    keys: int = 0
    patches: dict[Target, object] = field(default_factory=dict)
    parts: dict[Target, frozenset[str]] = field(default_factory=dict)
    unmatched: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)
    idle: set[str] = field(default_factory=set)
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
    tensors = _converted(tensors)
    made = Translated(len(tensors))
    found: list[Delta] = []
    for target, parts in _by_layer(file, tensors, places, made):
        check_parts(file, parts)
        check_types(file, parts)
        _drop_misfits(target, parts, places, made)
        check_numbers(file, parts)
        _drop_idle(parts, made)
        deltas = list(_deltas(target, parts))
        found += deltas
        used = {key for delta in deltas for key in delta.keys}
        made.unused |= {key: "goes with nothing else in the file" for key, _ in parts.values() if key not in used}
    kept, again = once(file, found, places)
    used = {key for delta in kept for key in delta.keys}
    made.unused |= {key: why for key, why in again.items() if key not in used}
    made.patches = {delta.target: delta.patch for delta in kept}
    made.parts = {delta.target: delta.suffixes for delta in kept}
    if not made.patches and not made.idle:
        raise LoRAError(_nothing(file, places, made))
    return made


def _lines(reasons: Mapping[str, str], count: int) -> list[str]:
    lines = [f"not used: {key} {reason}" for key, reason in islice(reasons.items(), SHOWN)]
    return [*lines, f"not used: {count - SHOWN} more keys"] if count > SHOWN else lines


def _converted(tensors: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """With the names of kinds of LoRAs that core knows by their whole."""
    try:
        return comfy.lora_convert.convert_lora(tensors)
    except KeyError:  # one that has some tensors of such a kind only
        return tensors


def _by_layer(
    file: str, tensors: Mapping[str, torch.Tensor], places: Places, made: Translated
) -> Iterator[tuple[Target, Parts]]:
    """What the file has for each layer, once for each name and each way to spell its factors."""
    layers: dict[str, dict[str, Parts]] = {}
    for key, tensor in tensors.items():
        if SCALE.search(key):
            raise LoRAError(
                f"{file}: {key} is a scale of a quantized LoRA, which is not read. Get the LoRA in 16 bits."
            )
        named = spelled(key)
        if named is None:
            made.unused[key] = "is no tensor of a LoRA"
            continue
        layer, suffix = named
        if places.find(layer) is None:
            if TEXT_ENCODER.match(layer):
                made.unused[key] = "is for a text encoder, and ComfyUI's LoraLoader puts it on a CLIP"
            else:
                made.unmatched[key] = layer
            continue
        parts = layers.setdefault(layer, {}).setdefault(way(key), {})
        if suffix in parts:
            _check_again(file, key, tensor, *parts[suffix])
            made.unused[key] = f"is the same as {parts[suffix][0]}"
        else:
            parts[suffix] = (key, as_core(suffix, tensor, places.shape(places.find(layer))))
    for layer, ways in layers.items():
        cores = ways.pop("", {})
        if "lora_up.weight" in cores or not ways:
            yield places.find(layer), cores
            cores = {suffix: cores[suffix] for suffix in SHARED if suffix in cores}
        for parts in ways.values():
            yield places.find(layer), cores | parts
            cores = {suffix: cores[suffix] for suffix in SHARED if suffix in cores}


def _check_again(file: str, key: str, tensor: torch.Tensor, other: str, held: torch.Tensor) -> None:
    if tensor.shape.numel() != held.shape.numel() or not torch.equal(tensor.flatten().float(), held.flatten().float()):
        raise LoRAError(f"{file}: {key} and {other} are the same tensor with two contents. Take one of them out of it.")


def _deltas(target: Target, parts: Parts) -> Iterator[Delta]:
    """The factors' product, and each tensor that is added or put in place as it is."""
    alone = [suffix for suffix in (*WHOLE, *BIAS) if suffix in parts]
    for suffixes in ([suffix for suffix in parts if suffix not in alone], *([suffix] for suffix in alone)):
        keys = tuple(parts[suffix][0] for suffix in suffixes)
        if suffixes and suffixes[0] in BIAS:
            yield Delta(bias_of(target), ("diff", (parts[suffixes[0]][1],)), keys, frozenset(suffixes))
            continue
        held = {f"{PLACE}.{suffix}": parts[suffix][1] for suffix in suffixes}
        if "oft_blocks" in parts:  # 0: no constraint; without one core computes no BOFT
            held.setdefault(f"{PLACE}.alpha", torch.tensor(0.0))
        elif not scales(parts):  # a LoKr's without meaning, which core uses beside a weight
            held.pop(f"{PLACE}.alpha", None)
        for name, patch in comfy.lora.load_lora(held, {PLACE: target}, log_missing=False).items():
            yield Delta(name, patch, keys, frozenset(suffixes))


def _drop_misfits(target: Target, parts: Parts, places: Places, made: Translated) -> None:
    """Take out of `parts` what has another shape than its place in the model, or no place."""
    for suffixes, reason, is_size in list(misfits(target, parts, places)):
        made.unused |= {parts[suffix][0]: reason for suffix in suffixes}
        made.misfits += is_size
        for suffix in suffixes:
            del parts[suffix]


def _drop_idle(parts: Parts, made: Translated) -> None:
    """Take out of `parts` factors whose alpha is 0, but for DoRA's, which change the weight even so."""
    if scales(parts) and "dora_scale" not in parts and not parts["alpha"][1].any():
        suffixes = [suffix for suffix in parts if suffix not in (*WHOLE, *BIAS)]
        keys = {parts.pop(suffix)[0] for suffix in suffixes}
        made.unused |= dict.fromkeys(keys, "has an alpha of 0, so that it changes nothing")
        made.idle |= keys


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
