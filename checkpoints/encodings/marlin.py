"""int4-g128 in Marlin's order, as LightX2V's int4-g128-marlin wants it and as this pack saves it."""

from .encoding import Encoding, TensorRole
from .values import SCALE, signed_scale

GROUP = 128
# a word of codes: 16 input channels of an output channel take two of them
INPUTS, WORDS = 16, 2
# output channels whose codes are woven together
ROWS = 64


def shape(shapes):
    blocks, words = shapes["codes"]
    n, k = words // WORDS, blocks * INPUTS
    fits = words % (WORDS * ROWS) == 0 and k % GROUP == 0 and shapes["scale"] == (k // GROUP, n)
    return (n, k) if fits else None


def read(tensors, shape):
    return {"codes": tensors["codes"], "scale": signed_scale(tensors["scale"])}


MARLIN = Encoding(
    "int4-g128-marlin",
    {"codes": TensorRole(("weight",), ("int32",)), "scale": SCALE},
    shape,
    read,
    marks=("int4-g128-marlin",),
    ignored={"weight_workspace": ""},
    rows=ROWS,
    row_axis=1,
)
