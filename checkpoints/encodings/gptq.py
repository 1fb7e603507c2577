"""GPTQ's 4 bits: eight codes of a column, along the input channels, in an int32 [K/8, N], the first one lowest.

The zero point of every group has to be 8, which makes the codes int4-g128's. Version 1 of the format stores it minus
one, version 2 (`checkpoint_format: gptq_v2`) as it is: 7s or 8s alone tell which one a file is, as a zero point of 7 or
9 for every group of a model is none that a quantizer would choose.
"""

import math

import torch

from .encoding import Encoding, TensorRole, WrongValueError
from .groups import GROUP, check_order
from .scales import FLOATS, signed_scale

PER_WORD = 8
# every nibble of a byte of zero points
SYMMETRIC = (0x77, 0x88)


def shape(shapes):
    words, n = shapes["codes"]
    k = words * PER_WORD
    groups = math.ceil(k / GROUP)
    zeros = shapes.get("zeros", (groups, n // PER_WORD))
    fits = shapes["scale"] == (groups, n) and zeros == (groups, n // PER_WORD) and n % PER_WORD == 0
    return (n, k) if fits else None


def unpack(tensors, shape):
    zeros = tensors["zeros"].contiguous().view(torch.uint8)
    if not any(bool((zeros == both).all()) for both in SYMMETRIC):
        raise WrongValueError(
            "zeros", "has zero points other than 8 (asymmetric int4)", "Get a symmetric file (sym=True)."
        )
    check_order(tensors, shape)
    # a byte of a word holds two neighbouring input channels, as a byte of int4-g128 does
    codes = tensors["codes"].contiguous().view(torch.uint8).view(-1, shape[0], 4).transpose(0, 1)
    return {"codes": codes.reshape(shape[0], shape[1] // 2), "scale": signed_scale(tensors["scale"].t())}


ENCODINGS = (
    Encoding(
        "int4-g128",
        {
            "codes": TensorRole(("qweight",), ("int32",)),
            "scale": TensorRole(("scales",), FLOATS),
            "zeros": TensorRole(("qzeros",), ("int32",)),
            "g_idx": TensorRole(("g_idx",), ("int32", "int64"), optional=True),
        },
        shape,
        unpack,
    ),
)
