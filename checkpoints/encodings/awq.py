"""awq-w4a16 as ComfyUI stores it: two codes of a row in a byte, and for every group of columns a row of scales and one
of zero points. ComfyUI's own has groups of 64, and scales in 16 bits, which are rounded where they have more."""

from functools import partial

import torch

from ...formats.awq_w4a16 import CORES, DEFAULT_GROUP, GROUPS, name_of, narrowed
from .encoding import COMFYUI, X2V, Encoding, TensorRole
from .scales import FLOATS, signed_scale

PER_BYTE = 2


def shape(shapes, group):
    n, columns = shapes["codes"]
    k = columns * PER_BYTE
    wanted = k // group, n
    fits = k % group == 0 and shapes["scale"] == wanted == shapes.get("zeros", wanted)
    return (n, k) if fits else None


def unpack(tensors, shape):
    found = {role: narrowed(signed_scale(tensors[role], role)).t().contiguous() for role in ("scale", "zeros")}
    return {"codes": tensors["codes"], **found}


def pack(tensors, shape, dtype):
    """dtype: that scales and zero points are written in, one for both and for all values: a file's header is written
    before any is known."""
    return {"codes": tensors["codes"], **{role: tensors[role].t().to(dtype) for role in ("scale", "zeros")}}


def _encoding(group: int, dialect: str, dtype: torch.dtype) -> Encoding:
    tensors = {
        "codes": TensorRole(("weight",), ("int8",)),
        "scale": TensorRole(("weight_scale",), FLOATS),
        "zeros": TensorRole(("weight_zeros",), FLOATS),
    }
    name = name_of(group)
    marks = (CORES, name) if group == DEFAULT_GROUP else (name,)
    return Encoding(
        name,
        tensors,
        partial(shape, group=group),
        unpack,
        partial(pack, dtype=dtype),
        (dialect,),
        marks=marks,
        unmarked=False,
    )


ENCODINGS = (
    # as core's kernels want them
    _encoding(DEFAULT_GROUP, COMFYUI, torch.bfloat16),
    # every value as it is in memory
    *(_encoding(group, X2V, torch.float32) for group in GROUPS),
)
