"""One scale per row, or one for all: LightX2V's int8 and fp8, and ComfyUI's without a static input scale.

fp8 may also be e5m2, which becomes e4m3, or a plain cast without any scale.
"""

from dataclasses import replace

import torch

from ...formats import ROTATED
from .encoding import Encoding, TensorRole, WrongValueError
from .values import IGNORED_INPUT, SCALE, is_per_row, scale

# the largest e4m3 code
LARGEST = 448.0


def shape(shapes):
    n, k = shapes["codes"]
    return (n, k) if is_per_row(shapes["scale"], n, k) else None


def read(tensors, shape):
    per_row = scale(tensors["scale"]).reshape(-1, 1).expand(shape[0], 1)
    return {"codes": tensors["codes"], "scale": per_row.contiguous()}


def _encoding(name: str, dtype: str, *marks: str) -> Encoding:
    tensors = {"codes": TensorRole(("weight",), (dtype,)), "scale": SCALE}
    return Encoding(name, tensors, shape, read, marks=marks, ignored=IGNORED_INPUT)


INT8 = _encoding("int8-channel", "int8", "int8_tensorwise", "int8-channel")
FP8 = _encoding("fp8-channel", "float8_e4m3fn", "float8_e4m3fn", "fp8-channel")


def read_e5m2(tensors, shape):
    """e4m3 codes of the same values: scales are multiplied by powers of two, so that no bit of a mantissa is lost, and
    only what lies 14 powers of two below the largest of its row is rounded."""
    codes, per_row = tensors["codes"], read(tensors, shape)["scale"]
    if codes.is_meta:
        return {"codes": torch.empty(shape, dtype=torch.float8_e4m3fn, device="meta"), "scale": per_row}
    values = codes.float()
    largest = values.abs().amax(dim=1, keepdim=True)
    if not bool(largest.isfinite().all()):
        raise WrongValueError("codes", "holds NaN or infinity")
    _, exponents = torch.frexp(largest / LARGEST)
    powers = torch.ldexp(torch.ones_like(largest), exponents)
    return {"codes": (values / powers).to(torch.float8_e4m3fn), "scale": per_row * powers}


def _unscaled(row: Encoding) -> Encoding:
    """`row` as a plain cast has it; never told by the layer alone (checkpoints/unscaled.py finds those)."""

    def read(tensors, shape):
        return row.read({**tensors, "scale": torch.ones(1)}, shape)

    return replace(row, tensors={"codes": row.tensors["codes"]}, read=read, marks=(), unmarked=False)


E5M2 = replace(_encoding("fp8-channel", "float8_e5m2", "float8_e5m2"), read=read_e5m2, rescaled=True)
# dtype of the codes -> how they are read without a scale
UNSCALED = {"float8_e4m3fn": _unscaled(FP8), "float8_e5m2": _unscaled(E5M2)}
# told by the marker alone, which also says how wide the groups are
CONVROT = tuple(
    Encoding(name, INT8.tensors, shape, read, marks=(name,), unmarked=False, ignored=IGNORED_INPUT)
    for name in ROTATED.values()
)
