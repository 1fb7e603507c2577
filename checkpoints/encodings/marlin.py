"""int4-g128 in Marlin's order, the only one that LightX2V has, as its int4-g128-marlin wants it and this pack saves
it."""

import torch

from ...formats.int4_marlin import GROUP, K_MULTIPLE, N_MULTIPLE
from .encoding import LIGHTX2V, Encoding, TensorRole
from .scales import SCALE, signed_scale

# a word of codes: 16 input channels of an output channel take two of them
INPUTS, WORDS = 16, 2
# Marlin's kernel wants so many zeros for 128 output channels
WORKSPACE = 16


def shape(shapes):
    blocks, words = shapes["codes"]
    n, k = words // WORDS, blocks * INPUTS
    fits = words % (WORDS * N_MULTIPLE) == 0 and k % GROUP == 0 and shapes["scale"] == (k // GROUP, n)
    return (n, k) if fits else None


def unpack(tensors, shape):
    return {"codes": tensors["codes"], "scale": signed_scale(tensors["scale"])}


def pack(tensors, shape):
    return {**tensors, "weight_workspace": torch.zeros(max(shape[0] // 128, 1) * WORKSPACE, dtype=torch.int32)}


ENCODINGS = (
    Encoding(
        "int4-g128-marlin",
        {"codes": TensorRole(("weight",), ("int32",)), "scale": SCALE},
        shape,
        unpack,
        pack,
        (LIGHTX2V,),
        multiples=(N_MULTIPLE, K_MULTIPLE),
        marks=("int4-g128-marlin",),
        ignored={"weight_workspace": ""},
        rows=N_MULTIPLE,
        row_axis=1,
    ),
)
