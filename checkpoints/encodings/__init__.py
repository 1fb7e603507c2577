"""How files store a quantized linear layer: the table of encodings, of which a layer's own is found by its tensors.

A new encoding is a row in one of the files here; a new file is named in ENCODINGS.
"""

from collections.abc import Collection, Iterable, Mapping

from ...formats import before_repacking, family
from ..tensor_info import TensorInfo
from . import (
    autoawq,
    awq,
    bitsandbytes,
    channel,
    compressed_tensors,
    convrot_w4a4,
    fp8_block128,
    fp8_tensor,
    gptq,
    int4,
    marlin,
    mx,
    mxfp8,
    nvfp4,
    smooth,
    w4a8,
)
from .encoding import COMFYUI, DIALECTS, LIGHTX2V, X2V, Encoding, Match, WrongValueError, match
from .scales import INPUT_SCALES, SCALES

ENCODINGS: tuple[Encoding, ...] = (
    *channel.ENCODINGS,
    *fp8_tensor.ENCODINGS,
    *bitsandbytes.ENCODINGS,
    *fp8_block128.ENCODINGS,
    *marlin.ENCODINGS,
    *int4.ENCODINGS,
    *compressed_tensors.ENCODINGS,
    *gptq.ENCODINGS,
    *awq.ENCODINGS,
    *autoawq.ENCODINGS,
    *mxfp8.ENCODINGS,
    *mx.ENCODINGS,
    *nvfp4.ENCODINGS,
    *convrot_w4a4.ENCODINGS,
    *smooth.ENCODINGS,
    *w4a8.ENCODINGS,
)

# what the name of a layer's codes ends in -> the dtypes that they may have
CODES: dict[str, set[str]] = {}
# a marker's format -> the dtypes of the codes
MARKS: dict[str, set[str]] = {}
# a marker's format -> what the name of the scale ends in that its layers have
SCALE_OF: dict[str, str] = {}
# dialect -> format -> the encodings that it is written in, or what repacks it is: the first one that holds the shape
WRITTEN: dict[str, dict[str, list[Encoding]]] = {dialect: {} for dialect in DIALECTS}
for _row in ENCODINGS:
    for _end in _row.tensors["codes"].ends:
        CODES.setdefault(_end, set()).update(_row.tensors["codes"].dtypes)
    for _mark in _row.marks:
        MARKS.setdefault(_mark, set()).update(_row.tensors["codes"].dtypes)
        SCALE_OF.setdefault(_mark, _row.tensors["scale"].ends[0])
    for _dialect in _row.dialects:
        WRITTEN[_dialect].setdefault(before_repacking(_row.format), []).append(_row)

# a power of two for 32 codes of 4, 6 or 8 bits: of narrow layers the tensors have the same types and shapes
ALIKE = {"mxfp4", "mxfp6", "mxfp8"}

*_FIRST, _LAST = sorted({family(row.format) for row in ENCODINGS})
WHAT_IS_READ = f"This version reads {', '.join(_FIRST)} and {_LAST}: get the model in one of them."


def find(
    layer: Mapping[str, TensorInfo],
    mark: str | None,
    told: tuple[int, ...] = (),
    usual: Collection[str] = (),
    group_size: int = 0,
) -> Match | None:
    """The encoding of a layer, given its tensors by the end of their name and what `match` takes of its marker: the one
    that leaves the fewest tensors over, of several such one of a format in `usual`, else the first. If a tensor is
    missing from each that fits, the first of them."""
    found = [hit for row in ENCODINGS if (hit := match(row, layer, mark, told, group_size)) is not None]
    whole = [hit for hit in found if not hit.missing]
    if not whole:
        return next(iter(found), None)
    return min(whole, key=lambda hit: (hit.left(layer), hit.encoding.format not in usual))


def undecided(layer: Mapping[str, TensorInfo], usual: Collection[str] = ()) -> list[str]:
    """The formats that a layer without a marker may be of and that mean different weights, where `usual` does not name
    exactly one of them; empty if it is told."""
    fitting = sorted({hit.encoding.format for row in ENCODINGS if (hit := match(row, layer, None)) and not hit.missing})
    alike = fitting if set(fitting) <= ALIKE and len(fitting) > 1 else []
    return alike if len(set(alike) & set(usual)) != 1 else []


def told_apart(layers: Iterable[Mapping[str, TensorInfo]]) -> set[str]:
    """The formats of those of `layers` without a marker that can be of one format only. Small layers of mxfp4, mxfp6
    and mxfp8 are alike to the byte: up to 128 and 384 channels their scales are padded to the same size."""
    formats = [{hit.encoding.format for row in ENCODINGS if (hit := match(row, layer, None))} for layer in layers]
    return {name for one in formats if len(one) == 1 for name in one}


__all__ = [
    "CODES",
    "COMFYUI",
    "DIALECTS",
    "ENCODINGS",
    "INPUT_SCALES",
    "LIGHTX2V",
    "MARKS",
    "SCALES",
    "SCALE_OF",
    "WHAT_IS_READ",
    "WRITTEN",
    "X2V",
    "Encoding",
    "Match",
    "WrongValueError",
    "find",
    "told_apart",
    "undecided",
]
