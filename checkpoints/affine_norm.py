"""LightCompress' smoothed models: two vectors per norm, which multiply what the layers behind it get.

LightX2V computes x = norm(x) * ((1 + scale) * weight) + shift * bias with the `weight` and `bias` of affine_norm1
before q, k and v and of affine_norm3 before the first layer of the feed-forward; the columns of those layers were
divided by them. Where both are the same vector, that is a pre_quant_scale of each of these layers.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch

from .encodings.scales import FLOATS
from .encodings.smooth import NORM_BIAS, NORM_WEIGHT, WITH_AFFINE_NORM, affine_factor
from .errors import Problem
from .stored import StoredLayer
from .tensor_info import TensorInfo

KEY = re.compile(r"((?:.*\.)?)(affine_norm[13])\.(?:weight|bias)")
# norm -> the layers that it feeds, by the end of their name: Wan's own names, diffusers'
FEEDS = {
    "affine_norm1": ("self_attn.q", "self_attn.k", "self_attn.v", "attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "affine_norm3": ("ffn.0", "ffn.net.0.proj"),
}

DAMAGED = "The file is damaged or mixed from two models: download it again."
NEEDS = f"Smoothing is read with {' and '.join(WITH_AFFINE_NORM)}: get the model in one of them."

Infos = Mapping[str, TensorInfo]


@dataclass(frozen=True)
class AffineNorm:
    """Keys of the two vectors."""

    weight: str
    bias: str

    @property
    def keys(self) -> tuple[str, ...]:
        return self.weight, self.bias

    def fold(self, key: str, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The unquantized weight [N, K] called `key` as it was before it was smoothed: its columns times the factor, in
        float32, rounded to its own dtype. Raises WrongValueError for vectors that are no factor."""
        factor = affine_factor(tensors[self.weight], tensors[self.bias]).to(tensors[key].device)
        return (tensors[key].to(torch.float32) * factor).to(tensors[key].dtype)

    def key_of(self, role: str) -> str:
        """The key that a WrongValueError is about."""
        return {NORM_WEIGHT: self.weight, NORM_BIAS: self.bias}[role]


@dataclass
class Attached:
    """`layers`: as given, those that a norm feeds with its factor. `folded`: key of an unquantized weight -> what is to
    be folded into it. `consumed`: the keys of the affine_norms."""

    layers: list[StoredLayer]
    folded: dict[str, AffineNorm] = field(default_factory=dict)
    consumed: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)


def attach(tensors: Infos, layers: list[StoredLayer], consumed: set[str]) -> Attached:
    """Give the affine_norms among `tensors` to the layers that they feed. `layers`: the quantized ones that are sound;
    `consumed`: keys that are no plain tensors."""
    found = Attached(list(layers))
    place = {layer.name: index for index, layer in enumerate(layers)}
    columns = {key.removesuffix(".weight"): info.shape[-1] for key, info in tensors.items() if len(info.shape) == 2}
    columns.update({layer.name: layer.shape[1] for layer in layers})
    norms = dict.fromkeys(hit.groups() for key in tensors if (hit := KEY.fullmatch(key)))
    for block, norm in norms:
        vectors = AffineNorm(f"{block}{norm}.weight", f"{block}{norm}.bias")
        found.consumed.update(key for key in (vectors.weight, vectors.bias) if key in tensors)
        fed = _fed(block, norm, columns)
        problem = _broken(vectors, fed, tensors)
        for name in [] if problem else fed:
            key = f"{name}.weight"
            if name in place:
                problem = problem or _unfit(vectors, layers[place[name]], tensors)
                found.layers[place[name]] = _smoothed(layers[place[name]], vectors)
            elif key not in consumed:  # else it has a problem of its own
                found.folded[key] = vectors
        found.problems += [problem] if problem else []
    return found


def _fed(block: str, norm: str, columns: Mapping[str, int]) -> dict[str, int]:
    """The layers that are there -> their input channels."""
    return {name: columns[name] for end in FEEDS[norm] if (name := f"{block}{end}") in columns}


def _smoothed(layer: StoredLayer, vectors: AffineNorm) -> StoredLayer:
    encoding = WITH_AFFINE_NORM.get(layer.encoding.format, layer.encoding)
    return replace(layer, encoding=encoding, keys=layer.keys | {NORM_WEIGHT: vectors.weight, NORM_BIAS: vectors.bias})


def _broken(vectors: AffineNorm, fed: Mapping[str, int], tensors: Infos) -> Problem | None:
    """What is wrong with the two vectors, whatever format the layers have that they feed."""
    for key, other in ((vectors.weight, vectors.bias), (vectors.bias, vectors.weight)):
        if key not in tensors:
            return _problem(other, f"has no {key} beside it", DAMAGED, tensors)
    for key in (vectors.weight, vectors.bias):
        if tensors[key].dtype not in FLOATS:
            return _problem(key, f"has dtype {tensors[key].dtype}, not a float type", DAMAGED, tensors)
        if not fed:
            return _problem(key, "smooths layers that are not there", DAMAGED, tensors)
        for name, channels in fed.items():
            if math.prod(tensors[key].shape) != channels:
                cause = f"has shape {list(tensors[key].shape)}, {name} has {channels} input channels"
                return _problem(key, cause, DAMAGED, tensors)
    return None


def _unfit(vectors: AffineNorm, layer: StoredLayer, tensors: Infos) -> Problem | None:
    if layer.encoding.format in WITH_AFFINE_NORM:
        return None
    return _problem(vectors.weight, f"smooths {layer.name}, which is {layer.encoding.format}", NEEDS, tensors)


def _problem(key: str, cause: str, remedy: str, tensors: Infos) -> Problem:
    return Problem(tensors[key].file.name, key, cause, remedy)
