"""int8 as bitsandbytes saves it (LLM.int8): beside the codes the largest value of each row, which is 127 of them."""

from . import channel
from .encoding import Encoding, TensorRole, WrongValueError
from .scales import FLOATS, same_but_ones

LARGEST = 127
# its row-major order among those that older releases wrote
ROWS = 0


def shape(shapes):
    n, k = shapes["codes"]
    return (n, k) if same_but_ones(shapes["scale"], (n,)) else None


def unpack(tensors, shape):
    if "order" in tensors and bool((tensors["order"] != ROWS).any()):
        remedy = "Save the model again with a bitsandbytes of 0.43 or later."
        raise WrongValueError("order", "says that the codes are in the order of a GPU's tensor cores", remedy)
    return channel.unpack({**tensors, "scale": tensors["scale"].float() / LARGEST}, shape)


ENCODINGS = (
    Encoding(
        "int8-channel",
        {
            "codes": TensorRole(("weight",), ("int8",)),
            "scale": TensorRole(("SCB",), FLOATS),
            "order": TensorRole(("weight_format",), ("uint8",), optional=True),
        },
        shape,
        unpack,
        origin="bitsandbytes",
    ),
)
