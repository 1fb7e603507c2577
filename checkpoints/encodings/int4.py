"""int4-g128 as it is in memory: two codes of a row in a byte, a scale per row and group of columns."""

import math
from functools import partial

from ...formats.int4_group128 import GROUP
from .encoding import LIGHTX2V, X2V, Encoding, TensorRole, unchanged
from .scales import SCALE, same_but_ones, signed_scale

PER_BYTE = 2


def shape(shapes, group=GROUP):
    n, columns = shapes["codes"]
    k = columns * PER_BYTE
    return (n, k) if same_but_ones(shapes["scale"], (n, math.ceil(k / group))) else None


def unpack(tensors, shape):
    return {"codes": tensors["codes"], "scale": signed_scale(tensors["scale"]).reshape(shape[0], -1)}


def _encoding(format_name: str, group: int, dialects: tuple[str, ...], marks: tuple[str, ...]) -> Encoding:
    tensors = {"codes": TensorRole(("weight",), ("uint8",)), "scale": SCALE}
    return Encoding(format_name, tensors, partial(shape, group=group), unpack, unchanged, dialects, marks=marks)


ENCODINGS = (_encoding("int4-g128", GROUP, (LIGHTX2V, X2V), ("int4-g128",)),)
