"""fp8 with a static scale for the activations: ComfyUI's calibrated files and LightX2V's fp8-pertensor.

An input scale of exactly 1 is what writers put where nothing was calibrated (core drops it when it reads old files):
it is read as none, and the activations are divided by what they need.
"""

import math

import torch

from .encoding import COMFYUI, LIGHTX2V, X2V, Encoding, TensorRole
from .scales import FLOATS, IGNORED_OUTPUT, INPUT_SCALES, SCALE, is_per_row, one_scale, scale

CODES = TensorRole(("weight",), ("float8_e4m3fn",))
UNCALIBRATED = 1.0


def shape(shapes):
    n, k = shapes["codes"]
    one_input = math.prod(shapes.get("input_scale", (0,))) == 1
    return (n, k) if one_input and is_per_row(shapes["scale"], n, k) else None


def shape_optional(shapes):
    return shape({**shapes, "input_scale": ()})


def unpack(tensors, shape):
    static = tensors.get("input_scale", torch.empty(0)).to(torch.float32).reshape(-1)
    if static.numel() and one_scale(static, "input_scale") == UNCALIBRATED:
        static = torch.empty(0)
    return {"codes": tensors["codes"], "scale": scale(tensors["scale"]).reshape(-1, 1), "input_scale": static}


def pack(tensors, shape):
    static = tensors["input_scale"]
    static = static.reshape(()) if static.numel() else static.new_full((), UNCALIBRATED)
    return {**pack_optional(tensors, shape), "input_scale": static}


def pack_optional(tensors, shape):
    weights, static = tensors["scale"], tensors["input_scale"]
    packed = {"codes": tensors["codes"], "scale": weights.reshape(()) if weights.numel() == 1 else weights}
    return {**packed, "input_scale": static} if static.numel() else packed


ENCODINGS = (
    Encoding(
        "fp8-tensor",
        {"codes": CODES, "scale": SCALE, "input_scale": TensorRole(INPUT_SCALES, FLOATS)},
        shape,
        unpack,
        pack,
        (LIGHTX2V,),
        marks=("float8_e4m3fn", "fp8-tensor"),
        ignored=IGNORED_OUTPUT,
    ),
    # without an input scale where a weight was never calibrated
    Encoding(
        "fp8-tensor",
        {"codes": CODES, "scale": SCALE, "input_scale": TensorRole(INPUT_SCALES, FLOATS, optional=True)},
        shape_optional,
        unpack,
        pack_optional,
        (COMFYUI, X2V),
        marks=("fp8-tensor",),
        unmarked=False,
    ),
)
