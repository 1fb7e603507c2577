"""One row of the table of encodings: how files store a quantized linear layer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from ..tensor_info import TensorInfo

Shapes = Mapping[str, tuple[int, ...]]
Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class TensorRole:
    """One tensor of a layer. `ends`: what its name may end in, behind the layer's name and a dot."""

    ends: tuple[str, ...]
    dtypes: tuple[str, ...]
    optional: bool = False


@dataclass(frozen=True)
class Encoding:
    """`tensors`: by role, "codes" among them. `shape`: the shapes by role (also "bias", if the layer has one, and
    "marker", if that tells one) -> (N, K), or None if they are not this encoding's. `read`: the tensors by role and
    (N, K) -> what formats.FORMATS[format] names; may raise WrongValueError.

    `marks`: the names of a format in a marker that mean this row; `unmarked`: it is told without a marker as well.
    `ignored`: ends of further tensors that are passed over -> the note on them, "" for none. `rows`: how many of them
    are stored as one and can only be split off together, and `row_axis`: where the tensors that come out have them.
    `rescaled`: what comes out has other codes and scales than the file.
    """

    format: str
    tensors: Mapping[str, TensorRole]
    shape: Callable[[Shapes], tuple[int, int] | None]
    read: Callable[[Tensors, tuple[int, int]], dict[str, torch.Tensor]]
    marks: tuple[str, ...] = ()
    unmarked: bool = True
    ignored: Mapping[str, str] = field(default_factory=dict)
    rows: int = 1
    row_axis: int = 0
    rescaled: bool = False


@dataclass(frozen=True)
class Match:
    """`ends`: role -> the end of the name that is there. `missing`: what the name of a tensor ends in that should be
    there and is not; a match is only good without."""

    encoding: Encoding
    ends: dict[str, str]
    shape: tuple[int, int]
    missing: tuple[str, ...] = ()


class WrongValueError(ValueError):
    """What a tensor holds cannot be used. `role`: which; `cause` and `remedy` as in Problem."""

    def __init__(self, role: str, cause: str, remedy: str = "The file is damaged: download it again."):
        super().__init__(cause)
        self.role, self.cause, self.remedy = role, cause, remedy


def match(
    encoding: Encoding, layer: Mapping[str, TensorInfo], mark: str | None, told: tuple[int, ...] = ()
) -> Match | None:
    """`layer`: its tensors by the end of their name; `mark`: its marker's format, None without one, and `told` the
    shape that it tells. None if the layer is none of this encoding, or has too little of it."""
    if not (encoding.unmarked if mark is None else mark in encoding.marks):
        return None
    ends, missing = {}, []
    for role, tensor in encoding.tensors.items():
        end = next((end for end in tensor.ends if end in layer), None)
        if end is not None and layer[end].dtype not in tensor.dtypes:
            return None
        if end is not None:
            ends[role] = end
        elif not tensor.optional:
            missing.append(tensor.ends[0])
    if "codes" not in ends or len(layer[ends["codes"]].shape) != 2 or 0 in layer[ends["codes"]].shape:
        return None
    shapes = {role: layer[end].shape for role, end in ends.items()}
    if "bias" in layer:
        shapes["bias"] = layer["bias"].shape
    if told:
        shapes["marker"] = told
    if missing and ("scale" not in ends or len(missing) > 1):
        # too little to tell what it is, unless a marker does
        return None if mark is None else Match(encoding, ends, (0, 0), tuple(missing))
    shape = encoding.shape(shapes)
    return None if shape is None else Match(encoding, ends, shape, tuple(missing))
