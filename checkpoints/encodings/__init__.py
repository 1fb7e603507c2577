"""How files store a quantized linear layer: the table, in the order in which a layer is held against it.

A new encoding is one file here and one row in ENCODINGS.
"""

from collections.abc import Mapping

from ...formats import ROTATED, family
from ..tensor_info import TensorInfo
from . import (
    bitsandbytes,
    channel,
    compressed_tensors,
    fp8_block128,
    fp8_tensor,
    gptq,
    int4,
    marlin,
    mxfp8,
    nvfp4,
    smooth,
)
from .encoding import Encoding, Match, WrongValueError, match
from .values import INPUT_SCALES, SCALES

ENCODINGS = (
    smooth.INT8,
    smooth.FP8,
    channel.INT8,
    bitsandbytes.INT8,
    *channel.CONVROT,
    fp8_tensor.STATIC,
    fp8_tensor.UNCALIBRATED,
    channel.FP8,
    channel.E5M2,
    fp8_block128.BLOCK128,
    int4.PLAIN,
    compressed_tensors.PACKED,
    gptq.GPTQ,
    marlin.MARLIN,
    mxfp8.LIGHTX2V,
    mxfp8.LIGHTX2V_WORDS,
    mxfp8.CORE,
    nvfp4.LIGHTX2V,
    nvfp4.CALIBRATED,
    nvfp4.CORE,
)

# what the name of a layer's codes ends in -> the dtypes that they may have
CODES: dict[str, set[str]] = {}
# a marker's format -> the dtypes of the codes
MARKS: dict[str, set[str]] = {}
for _row in ENCODINGS:
    for _end in _row.tensors["codes"].ends:
        CODES.setdefault(_end, set()).update(_row.tensors["codes"].dtypes)
    for _mark in _row.marks:
        MARKS.setdefault(_mark, set()).update(_row.tensors["codes"].dtypes)

*_FIRST, _LAST = sorted(
    {row.format for row in ENCODINGS} - set(ROTATED.values()) | {family(name) for name in ROTATED.values()}
)
WHAT_IS_READ = f"This version reads {', '.join(_FIRST)} and {_LAST}: get the model in one of them."


def find(layer: Mapping[str, TensorInfo], mark: str | None, told: tuple[int, ...] = ()) -> Match | None:
    """The encoding of a layer, given its tensors by the end of their name and its marker's format and shape. One from
    which a tensor is missing only if no other fits."""
    found = [hit for row in ENCODINGS if (hit := match(row, layer, mark, told)) is not None]
    return next((hit for hit in found if not hit.missing), found[0] if found else None)


__all__ = [
    "CODES",
    "ENCODINGS",
    "INPUT_SCALES",
    "MARKS",
    "SCALES",
    "WHAT_IS_READ",
    "Encoding",
    "Match",
    "WrongValueError",
    "find",
]
