"""fp8 with a scale per block of 128 x 128: LightX2V's, and DeepSeek's `weight_scale_inv`, which multiplies too."""

import math

from .encoding import LIGHTX2V, X2V, Encoding, TensorRole, unchanged
from .scales import BLOCK, IGNORED_INPUT, SCALE, same_but_ones, scale


def shape(shapes):
    n, k = shapes["codes"]
    size = shapes["scale"]
    return (n, k) if len(size) > 1 and same_but_ones(size, _blocks(n, k)) else None


def unpack(tensors, shape):
    return {"codes": tensors["codes"], "scale": scale(tensors["scale"]).reshape(_blocks(*shape))}


def _blocks(n, k):
    return math.ceil(n / BLOCK), math.ceil(k / BLOCK)


def _encoding(format_name: str, dtype: str, dialects: tuple[str, ...], marks: tuple[str, ...]) -> Encoding:
    tensors = {"codes": TensorRole(("weight",), (dtype,)), "scale": SCALE}
    others = {"marks": marks, "ignored": IGNORED_INPUT, "rows": BLOCK}
    return Encoding(format_name, tensors, shape, unpack, unchanged, dialects, **others)


# convert-to-quant's name and ours
MARKS = ("float8_e4m3fn_blockwise", "fp8-block128")
ENCODINGS = (_encoding("fp8-block128", "float8_e4m3fn", (LIGHTX2V, X2V), MARKS),)
