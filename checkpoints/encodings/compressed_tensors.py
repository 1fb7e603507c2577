"""compressed-tensors' "pack-quantized" 4 bits: eight codes of a row in an int32, code + 8, the first one lowest."""

import torch

from . import int4
from .encoding import Encoding, TensorRole, WrongValueError
from .groups import check_order
from .scales import FLOATS, signed_scale

PER_WORD = 8


def shape(shapes):
    n, words = shapes["codes"]
    if shapes.get("weight_shape", (2,)) != (2,):
        return None
    return int4.shape({"codes": (n, words * PER_WORD // int4.PER_BYTE), "scale": shapes["scale"]})


def unpack(tensors, shape):
    told = tensors["weight_shape"].flatten().tolist()
    if told != list(shape):
        raise WrongValueError("weight_shape", f"says {told}, the codes make {list(shape)}")
    check_order(tensors, shape)
    codes = tensors["codes"].contiguous().view(torch.uint8)
    return {"codes": codes, "scale": signed_scale(tensors["scale"]).reshape(shape[0], -1)}


ENCODINGS = (
    Encoding(
        "int4-g128",
        {
            "codes": TensorRole(("weight_packed",), ("int32",)),
            "scale": TensorRole(("weight_scale",), FLOATS),
            "weight_shape": TensorRole(("weight_shape",), ("int64", "int32")),
            "g_idx": TensorRole(("weight_g_idx",), ("int32", "int64"), optional=True),
        },
        shape,
        unpack,
        origin="compressed-tensors",
    ),
)
