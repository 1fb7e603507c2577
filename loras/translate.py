"""A LoRA file's tensors -> the patches that core makes of them, and what of the file has no use in this model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

import comfy.lora
import comfy.lora_convert
import torch
from comfy.weight_adapter import WeightAdapterBase

from .errors import LoRAError
from .places import WEIGHT, Places, Target
from .shapes import BIAS, WHOLE, matrix, product
from .spellings import spelled

# suffix -> what has to stand beside it, any of these
PARTNERS = {
    "lora_up.weight": ("lora_down.weight",),
    "lora_down.weight": ("lora_up.weight",),
    "hada_w1_a": ("hada_w1_b",),
    "hada_w1_b": ("hada_w2_a",),
    "hada_w2_a": ("hada_w2_b",),
    "hada_w2_b": ("hada_w1_a",),
    "lokr_w1": ("lokr_w2", "lokr_w2_a"),
    "lokr_w1_a": ("lokr_w1_b",),
    "lokr_w1_b": ("lokr_w2", "lokr_w2_a"),
    "lokr_w2": ("lokr_w1", "lokr_w1_a"),
    "lokr_w2_a": ("lokr_w2_b",),
    "lokr_w2_b": ("lokr_w1", "lokr_w1_a"),
}
PLACE = "place"
SHOWN = 5  # keys of each kind in a report; a file for another model has thousands

# suffix -> (key in the file, tensor)
Parts = dict[str, tuple[str, torch.Tensor]]


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
    """`file`: its name, for messages. Raises LoRAError for a file of which nothing fits this model, or with a
    matrix missing that belongs to another, or an alpha of several values."""
    tensors = comfy.lora_convert.convert_lora(tensors)
    made = Translated(len(tensors))
    for target, parts in _by_place(tensors, places, made).items():
        _check_parts(file, parts)
        _drop_misfits(target, parts, places, made)
        held = {f"{PLACE}.{suffix}": tensor for suffix, (_, tensor) in parts.items()}
        patches = comfy.lora.load_lora(held, {PLACE: target}, log_missing=False)
        if not patches:
            made.unused |= {key: "goes with nothing else in the file" for key, _ in parts.values()}
        for name, patch in patches.items():
            made.patches[name] = patch
            made.parts[name] = frozenset(parts)
    if not made.patches:
        raise LoRAError(_nothing(file, places, made))
    return made


def _lines(reasons: Mapping[str, str], count: int) -> list[str]:
    lines = [f"not used: {key} {reason}" for key, reason in islice(reasons.items(), SHOWN)]
    return [*lines, f"not used: {count - SHOWN} more keys"] if count > SHOWN else lines


def _by_place(tensors: Mapping[str, torch.Tensor], places: Places, made: Translated) -> dict[Target, Parts]:
    found: dict[Target, Parts] = {}
    for key, tensor in tensors.items():
        named = spelled(key)
        if named is None:
            made.unused[key] = "is no tensor of a LoRA"
            continue
        layer, suffix = named
        target = places.find(layer)
        if target is None:
            made.unmatched[key] = layer
            continue
        parts = found.setdefault(target, {})
        if suffix in parts:
            made.unused[key] = f"is for the same tensor as {parts[suffix][0]}"
            continue
        # peft keeps a magnitude per row as a vector, core as a column
        vector = suffix == "dora_scale" and tensor.ndim == 1
        parts[suffix] = (key, tensor.unsqueeze(1) if vector else tensor)
    return found


def _check_parts(file: str, parts: Parts) -> None:
    for suffix, partners in PARTNERS.items():
        if suffix in parts and not any(partner in parts for partner in partners):
            beside = " or ".join(partners)
            raise LoRAError(f"{file}: {parts[suffix][0]} has no {beside} beside it. Download the file again.")
    if "alpha" in parts and parts["alpha"][1].numel() != 1:
        key, alpha = parts["alpha"]
        raise LoRAError(f"{file}: {key} has shape {list(alpha.shape)}, not one value. Download the file again.")


def _drop_misfits(target: Target, parts: Parts, places: Places, made: Translated) -> None:
    """Take out of `parts` what has another shape than its place in the model, or no place."""
    for suffixes, reason, is_size in _misfits(target, parts, places):
        made.unused |= {parts[suffix][0]: reason for suffix in suffixes}
        made.misfits += is_size
        for suffix in suffixes:
            del parts[suffix]


def _misfits(target: Target, parts: Parts, places: Places) -> Iterator[tuple[list[str], str, bool]]:
    """(suffixes, why they do not fit, whether it is for their size)."""
    shape = places.shape(target)
    factors = [suffix for suffix in parts if suffix not in (*WHOLE, *BIAS)]
    if shape is not None:
        try:
            given = product({suffix: parts[suffix][1] for suffix in factors})
        except ValueError as error:
            yield factors, str(error), False
        else:
            if given is not None and given != matrix(shape):
                yield factors, _sizes(given, matrix(shape)), True
        for suffix in [s for s in WHOLE if s in parts and parts[s][1].shape != shape]:
            yield [suffix], _sizes(parts[suffix][1].shape, shape), True
    for suffix in [s for s in BIAS if s in parts]:
        bias = f"{target.removesuffix(WEIGHT)}.bias" if isinstance(target, str) else target
        wanted = places.shape(bias)
        if not isinstance(target, str) or bias not in places:
            yield [suffix], "is for a bias, and the layer has none", False
        elif wanted is not None and parts[suffix][1].shape != wanted:
            yield [suffix], _sizes(parts[suffix][1].shape, wanted), True


def _sizes(given, wanted) -> str:
    return f"is for a tensor of {list(given)}, the model has {list(wanted)}"


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
