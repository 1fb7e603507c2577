"""One row of the table of encodings: how files store a quantized linear layer, unpacked when read, packed to write."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch

from ..tensor_info import TensorInfo

# as LightX2V's converter stores things; as ComfyUI's own loaders read them; as this pack's layers are saved, which is
# the one that has every format and smoothing
LIGHTX2V, COMFYUI, X2V = "lightx2v", "comfyui", "x2v"
DIALECTS = (LIGHTX2V, COMFYUI, X2V)

Shapes = Mapping[str, tuple[int, ...]]
Tensors = Mapping[str, torch.Tensor]
# the first bytes of tensors by role, empty for those that were not read (TensorInfo.start)
Starts = Mapping[str, bytes]
# tensors, (N, K) -> tensors
Change = Callable[[Tensors, tuple[int, int]], dict[str, torch.Tensor]]


@dataclass(frozen=True)
class TensorRole:
    """One tensor of a layer. `ends`: what its name may end in, behind the layer's name and a dot; the first of them is
    written."""

    ends: tuple[str, ...]
    dtypes: tuple[str, ...]
    optional: bool = False


@dataclass(frozen=True)
class Encoding:
    """`tensors`: by role, "codes" among them. `shape`: the shapes by role (also "bias", if the layer has one, and
    "marker", and "group_size" with one number, if a marker tells those) -> (N, K), or None if they are not this
    encoding's.

    `unpack`: the tensors by role -> those that formats.FORMATS[format] names; may raise WrongValueError. `pack`: the
    way back, where `dialects` names those in which files are written so; what it returns beside the roles is written
    under its own name. `multiples`: what is written has an N and a K that they divide. `padded`: N and K are rounded
    up, and a marker tells both.

    `marks`: the names of a format in a marker that mean this row; `unmarked`: it is told without a marker as well.
    `ignored`: ends of further tensors that are passed over -> the note on them, "" for none. `rows`: how many of them
    are stored as one and can only be split off together, and `row_axis`: where the tensors that come out have them;
    `row_vectors`: those of them that are one value per row, of one dimension.
    `rescaled`: what comes out has other codes and scales than the file. `starts`: whether what the tensors begin with
    is this encoding's, where shapes do not tell. `of_file`: a role that `unpack` takes beside `tensors`, which only the
    file as a whole tells (Checkpoint.of_file), "" for none. `origin`: what such files are known as, where the format's
    name does not say it.
    """

    format: str
    tensors: Mapping[str, TensorRole]
    shape: Callable[[Shapes], tuple[int, int] | None]
    unpack: Change
    pack: Change | None = None
    dialects: tuple[str, ...] = ()
    multiples: tuple[int, int] = (1, 1)
    padded: bool = False
    marks: tuple[str, ...] = ()
    unmarked: bool = True
    ignored: Mapping[str, str] = field(default_factory=dict)
    rows: int = 1
    row_axis: int = 0
    row_vectors: tuple[str, ...] = ()
    rescaled: bool = False
    starts: Callable[[Starts], bool] | None = None
    of_file: str = ""
    origin: str = ""

    def holds(self, shape: tuple[int, int]) -> bool:
        """Whether a weight of `shape` (N, K) can be written so."""
        return not any(size % multiple for size, multiple in zip(shape, self.multiples, strict=True))

    def named(self, tensors: Tensors, shape: tuple[int, int]) -> dict[str, torch.Tensor]:
        """The tensors of the format -> those of a file, by the end of their names."""
        packed = self.pack(tensors, shape)
        return {self.tensors[role].ends[0] if role in self.tensors else role: packed[role] for role in packed}


@dataclass(frozen=True)
class Match:
    """`ends`: role -> the end of the name that is there. `missing`: what the name of a tensor ends in that should be
    there and is not; a match is only good without."""

    encoding: Encoding
    ends: dict[str, str]
    shape: tuple[int, int]
    missing: tuple[str, ...] = ()

    def left(self, layer: Mapping[str, TensorInfo]) -> tuple[int, int]:
        """(tensors of the layer that the encoding does not know, tensors that it passes over)."""
        others = layer.keys() - {end for tensor in self.encoding.tensors.values() for end in tensor.ends}
        ignored = others & self.encoding.ignored.keys()
        return len(others - ignored), len(ignored)


class WrongValueError(ValueError):
    """What a tensor holds cannot be used. `role`: which; `cause` and `remedy` as in Problem."""

    def __init__(self, role: str, cause: str, remedy: str = "The file is damaged: download it again."):
        super().__init__(cause)
        self.role, self.cause, self.remedy = role, cause, remedy


def unchanged(tensors: Tensors, shape: tuple[int, int]) -> dict[str, torch.Tensor]:
    """`pack` of an encoding whose tensors are the format's."""
    return dict(tensors)


def match(
    encoding: Encoding,
    layer: Mapping[str, TensorInfo],
    mark: str | None,
    told: tuple[int, ...] = (),
    group_size: int = 0,
) -> Match | None:
    """`layer`: its tensors by the end of their name; `mark`: its marker's format, None without one, `told` the shape
    that it tells and `group_size` the channels of a scale, 0 if it does not. None if the layer is none of this
    encoding, or has too little of it."""
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
    if group_size:
        shapes["group_size"] = (group_size,)
    if missing and ("scale" not in ends or len(missing) > 1):
        # too little to tell what it is, unless a marker does
        return None if mark is None else Match(encoding, ends, (0, 0), tuple(missing))
    if encoding.starts is not None and not encoding.starts({role: layer[end].start for role, end in ends.items()}):
        return None
    shape = encoding.shape(shapes)
    return None if shape is None else Match(encoding, ends, shape, tuple(missing))
