"""fp8 with a static scale for the activations: ComfyUI's calibrated files and LightX2V's fp8-pertensor.

An input scale of exactly 1 is what writers put where nothing was calibrated (core drops it when it reads old files):
it is read as none, and the activations are divided by what they need.
"""

import math

import torch

from .encoding import Encoding, TensorRole
from .values import FLOATS, IGNORED_OUTPUT, INPUT_SCALES, SCALE, is_per_row, one_scale, scale

CODES = TensorRole(("weight",), ("float8_e4m3fn",))


def shape(shapes):
    n, k = shapes["codes"]
    one_input = math.prod(shapes.get("input_scale", (0,))) == 1
    return (n, k) if one_input and is_per_row(shapes["scale"], n, k) else None


def shape_uncalibrated(shapes):
    return shape({**shapes, "input_scale": ()})


def read(tensors, shape):
    static = tensors.get("input_scale", torch.empty(0)).to(torch.float32).reshape(-1)
    if static.numel() and one_scale(static, "input_scale") == 1:
        static = torch.empty(0)
    return {"codes": tensors["codes"], "scale": scale(tensors["scale"]).reshape(-1, 1), "input_scale": static}


STATIC = Encoding(
    "fp8-tensor",
    {"codes": CODES, "scale": SCALE, "input_scale": TensorRole(INPUT_SCALES, FLOATS)},
    shape,
    read,
    marks=("float8_e4m3fn", "fp8-tensor"),
    ignored=IGNORED_OUTPUT,
)
# as this pack saves a weight that was never calibrated
UNCALIBRATED = Encoding(
    "fp8-tensor",
    {"codes": CODES, "scale": SCALE, "input_scale": TensorRole(INPUT_SCALES, FLOATS, optional=True)},
    shape_uncalibrated,
    read,
    marks=("fp8-tensor",),
    unmarked=False,
)
