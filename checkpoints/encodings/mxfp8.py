"""mxfp8: a power of two per 32 input channels, in the tensor cores' order. LightX2V keeps the codes' bits as uint8 and
the scales as bytes or four in an int32; ComfyUI pads rows and columns to multiples of 32, which is what comes out."""

import math

import torch
from comfy_kitchen.float_utils import roundup

from .encoding import COMFYUI, LIGHTX2V, X2V, Encoding, TensorRole
from .scales import IGNORED_INPUT, TILE_ROWS, block_scales, padded, tiled, unpadded

BLOCK = 32
# 2^64 and more: no weight is that large, products of it overflow, and 0xFF is no number
TOO_LARGE = 191
BEYOND = "has a scale that is not a number, or larger than any weight"
SCALES_PER_INT32 = 4

BITS = TensorRole(("weight",), ("uint8",))
BYTES = TensorRole(("weight_scale",), ("float8_e8m0fnu", "uint8"))
WORDS = TensorRole(("weight_scale",), ("int32",))


def shape(shapes):
    n, k = shapes["codes"]
    return (n, k) if shapes["scale"] == tiled(n, math.ceil(k / BLOCK)) else None


def shape_words(shapes):
    *rows, words = shapes["scale"] or (0,)
    return shape({**shapes, "scale": (*rows, words * SCALES_PER_INT32)})


def shape_core(shapes):
    fitting = shape(shapes)
    return fitting and unpadded(fitting, shapes, BLOCK)


def unpack(tensors, shape):
    codes = tensors["codes"].contiguous().view(torch.float8_e4m3fn)
    rows, columns = codes.shape
    scales = block_scales(tensors["scale"], rows, math.ceil(columns / BLOCK), TOO_LARGE, BEYOND)
    return {
        "codes": padded(codes, roundup(rows, BLOCK), roundup(columns, BLOCK)),
        "scale": scales.view(torch.float8_e8m0fnu),
    }


def pack_words(tensors, shape):
    codes = tensors["codes"][: shape[0], : shape[1]].contiguous()
    return {"codes": codes.view(torch.uint8), "scale": tensors["scale"].view(torch.uint8).view(torch.int32)}


def pack_core(tensors, shape):
    # core's reader of streamed files does not know the scales' own type
    return {"codes": tensors["codes"], "scale": tensors["scale"].view(torch.uint8)}


ENCODINGS = (
    Encoding("mxfp8", {"codes": BITS, "scale": BYTES}, shape, unpack, rows=TILE_ROWS),
    Encoding(
        "mxfp8",
        {"codes": BITS, "scale": WORDS},
        shape_words,
        unpack,
        pack_words,
        (LIGHTX2V,),
        rows=TILE_ROWS,
    ),
    Encoding(
        "mxfp8",
        {"codes": TensorRole(("weight",), ("float8_e4m3fn",)), "scale": BYTES},
        shape_core,
        unpack,
        pack_core,
        (COMFYUI, X2V),
        padded=True,
        marks=("mxfp8",),
        unmarked=False,
        ignored=IGNORED_INPUT,
        rows=TILE_ROWS,
    ),
)
