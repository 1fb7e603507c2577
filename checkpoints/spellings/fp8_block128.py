"""fp8 with a scale per block of 128 x 128: LightX2V's, and DeepSeek's `weight_scale_inv`, which multiplies too."""

import math

from .spelling import Part, Spelling
from .values import IGNORED_INPUT, SCALE, scale

BLOCK = 128


def shape(shapes):
    n, k = shapes["codes"]
    return (n, k) if shapes["scale"] == (math.ceil(n / BLOCK), math.ceil(k / BLOCK)) else None


def read(tensors, shape):
    return {"codes": tensors["codes"], "scale": scale(tensors["scale"])}


BLOCK128 = Spelling(
    "fp8-block128",
    {"codes": Part(("weight",), ("float8_e4m3fn",)), "scale": SCALE},
    shape,
    read,
    marks=("fp8-block128",),
    ignored=IGNORED_INPUT,
    rows=BLOCK,
)
