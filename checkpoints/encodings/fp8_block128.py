"""fp8 with a scale per block of 128 x 128: LightX2V's, and DeepSeek's `weight_scale_inv`, which multiplies too."""

import math

from .encoding import LIGHTX2V, X2V, Encoding, TensorRole, unchanged
from .values import BLOCK, IGNORED_INPUT, SCALE, same_but_ones, scale


def shape(shapes):
    n, k = shapes["codes"]
    size = shapes["scale"]
    return (n, k) if len(size) > 1 and same_but_ones(size, _blocks(n, k)) else None


def unpack(tensors, shape):
    return {"codes": tensors["codes"], "scale": scale(tensors["scale"]).reshape(_blocks(*shape))}


def _blocks(n, k):
    return math.ceil(n / BLOCK), math.ceil(k / BLOCK)


ENCODINGS = (
    Encoding(
        "fp8-block128",
        {"codes": TensorRole(("weight",), ("float8_e4m3fn",)), "scale": SCALE},
        shape,
        unpack,
        unchanged,
        (LIGHTX2V, X2V),
        marks=("fp8-block128",),
        ignored=IGNORED_INPUT,
        rows=BLOCK,
    ),
)
