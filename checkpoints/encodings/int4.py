"""int4-g128 as it is in memory: two codes of a row in a byte, a scale per row and 128 columns."""

import math

from ...formats.int4_group128 import GROUP
from .encoding import LIGHTX2V, X2V, Encoding, TensorRole, unchanged
from .values import SCALE, same_but_ones, signed_scale

PER_BYTE = 2


def shape(shapes):
    n, columns = shapes["codes"]
    k = columns * PER_BYTE
    return (n, k) if same_but_ones(shapes["scale"], (n, math.ceil(k / GROUP))) else None


def unpack(tensors, shape):
    return {"codes": tensors["codes"], "scale": signed_scale(tensors["scale"]).reshape(shape[0], -1)}


ENCODINGS = (
    Encoding(
        "int4-g128",
        {"codes": TensorRole(("weight",), ("uint8",)), "scale": SCALE},
        shape,
        unpack,
        unchanged,
        (LIGHTX2V, X2V),
        marks=("int4-g128",),
    ),
)
