"""fp8 without scales: a plain cast, whose codes are the weights, in a whole file or beside layers with scales.

Which layers those are is told from headers. That they are no codes whose scales got lost is told from values: with a
scale the largest code of a layer is the largest of its type.
"""

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

import torch

from .encodings import SCALES, WrongValueError
from .encodings.channel import UNSCALED
from .stored import StoredLayer
from .tensor_info import TensorInfo

FP8 = tuple(UNSCALED)
# what a plain layer has, by the ends of its names
PLAIN_ENDS = {"weight", "bias"}
# in a numbered block: what LightX2V quantizes. Lookup tables and what stands outside blocks become bfloat16
# (?=(...))\2 tries one number only, the first one: with each of them the cost would be quadratic
IN_BLOCK = re.compile(r"(?!.*(embed|relative_attention_bias))(?=(.*?\.\d+\.))\2(.*\.)?[A-Za-z_]\w*(\.\d+)?")
# a weight of that size is a code
LARGEST_WEIGHT = 400.0
LOST = "has no scale but needs one: its codes go up to {:g}"
REMEDY = "Without it the layer gives noise: download the file again."

LAYERS = "fp8 layers have no scale: a plain cast, whose codes are the weights"
UPCAST = "other tensors are fp8 without a scale: they become bfloat16 at load"
FIVE_BITS = "layers are fp8 e5m2: they become e4m3 at load, exact but for values below 1/16384 of a row's largest"


@dataclass
class Unscaled:
    """`layers`: those that are read with a scale of one. `plain`: keys of the weights that become bfloat16."""

    layers: set[str] = field(default_factory=set)
    plain: set[str] = field(default_factory=set)


def find_unscaled(siblings: Mapping[str, Mapping[str, TensorInfo]], marked: Container[str]) -> Unscaled:
    """siblings: layer -> its tensors by the end of their names; marked: layers with a marker. A layer without a scale
    whose like in another block has one is none of these, and neither is one that has anything else beside it."""
    scaled = {_kind(layer) for layer, ends in siblings.items() if ends.keys() & set(SCALES)}
    found = Unscaled()
    for layer, ends in siblings.items():
        weight = ends.get("weight")
        fp8 = weight is not None and weight.dtype in FP8 and len(weight.shape) == 2 and 0 not in weight.shape
        if not fp8 or not ends.keys() <= PLAIN_ENDS or layer in marked or _kind(layer) in scaled:
            continue
        if IN_BLOCK.fullmatch(layer):
            found.layers.add(layer)
        else:
            found.plain.add(f"{layer}.weight")
    return found


def notes(layers: Iterable[StoredLayer], upcast: int) -> list[str]:
    """What whoever loads them is told; upcast: the number of tensors that become bfloat16."""
    layers = list(layers)
    five = sum("float8_e5m2" in layer.encoding.tensors["codes"].dtypes for layer in layers)
    counted = {LAYERS: sum("scale" not in layer.keys for layer in layers), UPCAST: upcast, FIVE_BITS: five}
    return [f"{count} {words}" for words, count in counted.items() if count]


def check_range(layers: list[StoredLayer], tensors: Mapping[str, torch.Tensor]) -> tuple[str, WrongValueError] | None:
    """What is wrong with the codes of the first layer of each kind among those that are read without a scale: its key,
    and why they are no weights. Reads some 5 % of a model's codes."""
    first: dict[str, StoredLayer] = {}
    for layer in layers:
        if "scale" not in layer.keys:
            first.setdefault(_kind(layer.name), layer)
    for layer in first.values():
        largest = float(tensors[layer.weight_key].float().abs().amax())
        if not largest < LARGEST_WEIGHT:
            return layer.weight_key, WrongValueError("codes", LOST.format(largest), REMEDY)
    return None


def _kind(layer: str) -> str:
    """ "blocks.7.ffn.2" -> "blocks.*.ffn.2"."""
    return re.sub(r"\.\d+\.", ".*.", layer, count=1)
