"""nvfp4: two e2m1 codes in a byte, an e4m3 scale per 16 input channels in the tensor cores' order, a scale for all.

LightX2V's kernels pack the code of an even input channel into the low nibble and divide by the global scale; ComfyUI
has it in the high nibble, multiplies by `weight_scale_2`, and pads rows and columns to multiples of 16.
"""

import math

import torch
from comfy_kitchen.float_utils import roundup, swap_nibbles

from .encoding import COMFYUI, LIGHTX2V, X2V, Encoding, TensorRole
from .scales import FLOATS, IGNORED_INPUT, TILE_ROWS, block_scales, one_scale, padded, tiled, unpadded

BLOCK = 16
PER_BYTE = 2
# above it the sign bit is set
NOT_A_NUMBER = 0x7F

CODES = TensorRole(("weight",), ("uint8",))
BLOCK_SCALE = TensorRole(("weight_scale",), ("float8_e4m3fn", "uint8"))
CALIBRATION = "calibrated input scales ignored: activations are quantized as they come"


def shape(shapes):
    n, columns = shapes["codes"]
    k = columns * PER_BYTE
    for_all = [size for role, size in shapes.items() if role not in ("codes", "scale", "bias", "marker", "group_size")]
    fits = shapes["scale"] == tiled(n, math.ceil(k / BLOCK)) and all(math.prod(size) == 1 for size in for_all)
    return (n, k) if fits else None


def shape_core(shapes):
    fitting = shape(shapes)
    return fitting and unpadded(fitting, shapes, BLOCK)


def _unpack(codes, block_scale, scale):
    rows, columns = codes.shape[0], codes.shape[1] * PER_BYTE
    scales = block_scales(block_scale, rows, math.ceil(columns / BLOCK), NOT_A_NUMBER)
    return {
        "codes": padded(codes, roundup(rows, BLOCK), roundup(columns, BLOCK) // PER_BYTE),
        "scale": scale,
        "block_scale": scales.view(torch.float8_e4m3fn),
    }


def unpack_lightx2v(tensors, shape):
    scale = 1 / one_scale(tensors["global_scale"], "global_scale")
    return _unpack(swap_nibbles(tensors["codes"]), tensors["scale"], scale)


def pack_lightx2v(tensors, shape):
    codes = swap_nibbles(tensors["codes"][: shape[0], : shape[1] // PER_BYTE].contiguous())
    return {"codes": codes, "scale": tensors["block_scale"], "global_scale": 1 / tensors["scale"]}


def unpack_calibrated(tensors, shape):
    """alpha is what the products are multiplied by: 1 / (input_global_scale * weight_global_scale)."""
    scale = one_scale(tensors["alpha"], "alpha") * one_scale(tensors["input_global_scale"], "input_global_scale")
    return _unpack(swap_nibbles(tensors["codes"]), tensors["scale"], scale)


def unpack_core(tensors, shape):
    return _unpack(tensors["codes"], tensors["scale"], one_scale(tensors["scale_2"], "scale_2"))


def pack_core(tensors, shape):
    return {"codes": tensors["codes"], "scale": tensors["block_scale"], "scale_2": tensors["scale"]}


ENCODINGS = (
    Encoding(
        "nvfp4",
        {"codes": CODES, "scale": BLOCK_SCALE, "global_scale": TensorRole(("weight_global_scale",), FLOATS)},
        shape,
        unpack_lightx2v,
        pack_lightx2v,
        (LIGHTX2V,),
        ignored={"input_absmax": CALIBRATION, "input_global_scale": CALIBRATION, "alpha": ""},
        rows=TILE_ROWS,
    ),
    Encoding(
        "nvfp4",
        {
            "codes": CODES,
            "scale": BLOCK_SCALE,
            "input_global_scale": TensorRole(("input_global_scale",), FLOATS),
            "alpha": TensorRole(("alpha",), FLOATS),
        },
        shape,
        unpack_calibrated,
        ignored={"input_absmax": CALIBRATION},
        rows=TILE_ROWS,
    ),
    Encoding(
        "nvfp4",
        {"codes": CODES, "scale": BLOCK_SCALE, "scale_2": TensorRole(("weight_scale_2",), FLOATS)},
        shape_core,
        unpack_core,
        pack_core,
        (COMFYUI, X2V),
        padded=True,
        marks=("nvfp4",),
        unmarked=False,
        ignored=IGNORED_INPUT,
        rows=TILE_ROWS,
    ),
)
