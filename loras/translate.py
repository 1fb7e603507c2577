"""Translates a LoRA file's tensors into core's patches, and reports the keys that this model has no use for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import comfy.lora
import comfy.lora_convert
import torch
from comfy.weight_adapter import WeightAdapterBase

from .components import Components, check_components, misfits
from .deltas import Delta, deduplicated
from .errors import LoRAError
from .finite import check_numbers, check_types, scales
from .key_formats import SCALE, TEXT_ENCODER, key_format, split_key
from .shapes import BIAS, WHOLE, as_core
from .targets import LoRATargets, Target, bias_of

PLACE = "place"
SHOWN = 5  # keys of each kind in a report; a file for another model has thousands
# suffixes that all factors of a layer share where a file has them in two key formats
SHARED = ("alpha", "dora_scale")


@dataclass
class Translated:
    """`keys`: number of keys in the file. `patches`: target -> what core's add_patches takes. `components`: target ->
    suffixes that its patch was made of. `unmatched`: key -> its layer, which the model does not have. `unused`: key of
    an existing layer -> why it is not used; `idle`: those that fit and change nothing. `misfits`: count by size."""

    keys: int = 0
    patches: dict[Target, object] = field(default_factory=dict)
    components: dict[Target, frozenset[str]] = field(default_factory=dict)
    unmatched: dict[str, str] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)
    idle: set[str] = field(default_factory=set)
    misfits: int = 0

    @property
    def used(self) -> int:
        return self.keys - len(self.unmatched) - len(self.unused)

    def verdict(self, whole: str = "The whole LoRA") -> str:
        """How much of it is used, and what that means where it is less than half. whole: what it is."""
        if self.used == self.keys:
            return f"{whole} is used"
        if 2 * self.used < self.keys:
            return f"Only {self.used} of {self.keys} keys are used (is this LoRA for this model?)"
        return f"{'Half' if 2 * self.used == self.keys else 'Most'} of it is used ({self.used} of {self.keys} keys)"

    def lines(self, targets: LoRATargets) -> list[str]:
        """Lines on the keys that are not used; for a layer that is missing with the most similar one of `targets`."""
        absent = {
            key: f"has no place in this model, the nearest is {targets.nearest(layer)}"
            for key, layer in islice(self.unmatched.items(), SHOWN)
        }
        return [*_lines(absent, len(self.unmatched)), *_lines(self.unused, len(self.unused))]


def translate(file: str, tensors: Mapping[str, torch.Tensor], targets: LoRATargets) -> Translated:
    """file: its name, for messages. tensors: key -> tensor. targets: those of the model. Raises LoRAError if nothing
    fits the model, a factor lacks its partner, an alpha is not one value, values are not finite or too large for 16
    bits, or two deltas of one weight differ."""
    tensors = _converted(tensors)
    made = Translated(len(tensors))
    found: list[Delta] = []
    for target, components in _by_layer(file, tensors, targets, made):
        check_components(file, components)
        check_types(file, components)
        _drop_misfits(target, components, targets, made)
        check_numbers(file, components)
        _drop_idle(components, made)
        deltas = list(_deltas(target, components))
        found += deltas
        used = {key for delta in deltas for key in delta.keys}
        made.unused |= {key: "goes with nothing else in the file" for key, _ in components.values() if key not in used}
    kept, again = deduplicated(file, found, targets)
    used = {key for delta in kept for key in delta.keys}
    made.unused |= {key: why for key, why in again.items() if key not in used}
    made.patches = {delta.target: delta.patch for delta in kept}
    made.components = {delta.target: delta.suffixes for delta in kept}
    if not made.patches and not made.idle:
        raise LoRAError(_nothing(file, targets, made))
    return made


def _lines(reasons: Mapping[str, str], count: int) -> list[str]:
    lines = [f"not used: {key} {reason}" for key, reason in islice(reasons.items(), SHOWN)]
    return [*lines, f"not used: {count - SHOWN} more keys"] if count > SHOWN else lines


def _converted(tensors: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """The tensors with core's key names, for kinds of LoRAs that core recognises from all their keys."""
    try:
        return comfy.lora_convert.convert_lora(tensors)
    except KeyError:  # one that has some tensors of such a kind only
        return tensors


def _by_layer(
    file: str, tensors: Mapping[str, torch.Tensor], targets: LoRATargets, made: Translated
) -> Iterator[tuple[Target, Components]]:
    """Yields (target, components) per layer, several times for a layer with several names or key formats."""
    layers: dict[str, dict[str, Components]] = {}
    for key, tensor in tensors.items():
        if SCALE.search(key):
            raise LoRAError(
                f"{file}: {key} is a scale of a quantized LoRA, which is not read. Get the LoRA in 16 bits."
            )
        named = split_key(key)
        if named is None:
            made.unused[key] = "is no tensor of a LoRA"
            continue
        layer, suffix = named
        if targets.find(layer) is None:
            if TEXT_ENCODER.match(layer):
                made.unused[key] = "is for a text encoder, and ComfyUI's LoraLoader puts it on a CLIP"
            else:
                made.unmatched[key] = layer
            continue
        components = layers.setdefault(layer, {}).setdefault(key_format(key), {})
        if suffix in components:
            _check_again(file, key, tensor, *components[suffix])
            made.unused[key] = f"is the same as {components[suffix][0]}"
        else:
            components[suffix] = (key, as_core(suffix, tensor, targets.shape(targets.find(layer))))
    for layer, ways in layers.items():
        cores = ways.pop("", {})
        if "lora_up.weight" in cores or not ways:
            yield targets.find(layer), cores
            cores = {suffix: cores[suffix] for suffix in SHARED if suffix in cores}
        for components in ways.values():
            yield targets.find(layer), cores | components
            cores = {suffix: cores[suffix] for suffix in SHARED if suffix in cores}


def _check_again(file: str, key: str, tensor: torch.Tensor, other: str, seen: torch.Tensor) -> None:
    if tensor.shape.numel() != seen.shape.numel() or not torch.equal(tensor.flatten().float(), seen.flatten().float()):
        raise LoRAError(
            f"{file}: {key} and {other} are the same tensor with two contents. Remove one of them from the file."
        )


def _deltas(target: Target, components: Components) -> Iterator[Delta]:
    """The delta of the factors, and one for each full tensor that is added or replaces the model's."""
    alone = [suffix for suffix in (*WHOLE, *BIAS) if suffix in components]
    for suffixes in ([suffix for suffix in components if suffix not in alone], *([suffix] for suffix in alone)):
        keys = tuple(components[suffix][0] for suffix in suffixes)
        if suffixes and suffixes[0] in BIAS:
            yield Delta(bias_of(target), ("diff", (components[suffixes[0]][1],)), keys, frozenset(suffixes))
            continue
        tensors = {f"{PLACE}.{suffix}": components[suffix][1] for suffix in suffixes}
        if "oft_blocks" in components:  # 0: no constraint; without one core computes no BOFT
            tensors.setdefault(f"{PLACE}.alpha", torch.tensor(0.0))
        elif not scales(components):  # a LoKr's without meaning, which core uses beside a weight
            tensors.pop(f"{PLACE}.alpha", None)
        for name, patch in comfy.lora.load_lora(tensors, {PLACE: target}, log_missing=False).items():
            yield Delta(name, patch, keys, frozenset(suffixes))


def _drop_misfits(target: Target, components: Components, targets: LoRATargets, made: Translated) -> None:
    """Remove the components that do not fit the shape of the target, or whose bias does not exist."""
    for suffixes, reason, is_size in list(misfits(target, components, targets)):
        made.unused |= {components[suffix][0]: reason for suffix in suffixes}
        made.misfits += is_size
        for suffix in suffixes:
            del components[suffix]


def _drop_idle(components: Components, made: Translated) -> None:
    """Remove factors whose alpha is 0, except DoRA's, which change the weight all the same."""
    if scales(components) and "dora_scale" not in components and not components["alpha"][1].any():
        suffixes = [suffix for suffix in components if suffix not in (*WHOLE, *BIAS)]
        keys = {components.pop(suffix)[0] for suffix in suffixes}
        made.unused |= dict.fromkeys(keys, "has an alpha of 0, so that it changes nothing")
        made.idle |= keys


def _nothing(file: str, targets: LoRATargets, made: Translated) -> str:
    if made.misfits:
        key, reason = next((key, reason) for key, reason in made.unused.items() if reason.startswith("is for a tensor"))
        return f"{file} was made for a model of another size: {key} {reason}. Pick a LoRA for this model's size."
    if made.unmatched:
        key, layer = next(iter(made.unmatched.items()))
        return (
            f"{file} has nothing for this model: its keys are like {key}, the model's layers like "
            f"{targets.nearest(layer)}. Pick a LoRA that was made for it."
        )
    key, reason = next(iter(made.unused.items()), ("it", "has no tensor"))
    return f"{file} has nothing for this model: {key} {reason}. Pick a LoRA that was made for it."


def is_adapter(patch: object) -> bool:
    """Whether the patch is one of core's adapters (factors), not a full tensor."""
    return isinstance(patch, WeightAdapterBase)
