"""One scale per row, or one for all: LightX2V's int8 and fp8, and ComfyUI's without a static input scale.

fp8 may also be e5m2, which becomes e4m3, or a plain cast without any scale.
"""

from dataclasses import replace

import torch

from ...formats import ROTATED
from .encoding import COMFYUI, LIGHTX2V, X2V, Encoding, TensorRole, WrongValueError, unchanged
from .scales import IGNORED_INPUT, SCALE, is_per_row, scale

# the largest e4m3 code
LARGEST = 448.0


def shape(shapes):
    n, k = shapes["codes"]
    return (n, k) if is_per_row(shapes["scale"], n, k) else None


def unpack(tensors, shape):
    per_row = scale(tensors["scale"]).reshape(-1, 1).expand(shape[0], 1)
    return {"codes": tensors["codes"], "scale": per_row.contiguous()}


def unpack_e5m2(tensors, shape):
    """e4m3 codes of the same values: scales are multiplied by powers of two, so that no bit of a mantissa is lost, and
    only what lies 14 powers of two below the largest of its row is rounded."""
    codes, per_row = tensors["codes"], unpack(tensors, shape)["scale"]
    if codes.is_meta:
        return {"codes": torch.empty(shape, dtype=torch.float8_e4m3fn, device="meta"), "scale": per_row}
    values = codes.float()
    largest = values.abs().amax(dim=1, keepdim=True)
    if not bool(largest.isfinite().all()):
        raise WrongValueError("codes", "contains NaN or infinity")
    _, exponents = torch.frexp(largest / LARGEST)
    powers = torch.ldexp(torch.ones_like(largest), exponents)
    return {"codes": (values / powers).to(torch.float8_e4m3fn), "scale": per_row * powers}


def _encoding(format_name: str, dtype: str, dialects: tuple[str, ...], marks: tuple[str, ...], **others) -> Encoding:
    tensors = {"codes": TensorRole(("weight",), (dtype,)), "scale": SCALE}
    return Encoding(
        format_name, tensors, shape, unpack, unchanged, dialects, marks=marks, ignored=IGNORED_INPUT, **others
    )


def _unscaled(row: Encoding) -> Encoding:
    """`row` as a plain cast has it; never told by the layer alone (checkpoints/unscaled.py finds those)."""

    def unpack(tensors, shape):
        return row.unpack({**tensors, "scale": torch.ones(1)}, shape)

    return replace(row, tensors={"codes": row.tensors["codes"]}, unpack=unpack, dialects=(), marks=(), unmarked=False)


INT8 = _encoding("int8-channel", "int8", (LIGHTX2V, COMFYUI, X2V), ("int8_tensorwise", "int8-channel"))
# names of core's, of convert-to-quant's (a layer of one block has one scale as well), and of ours
FP8_MARKS = ("float8_e4m3fn", "float8_e4m3fn_rowwise", "float8_e4m3fn_blockwise", "fp8-channel")
FP8 = _encoding("fp8-channel", "float8_e4m3fn", (LIGHTX2V, X2V), FP8_MARKS)
E5M2 = replace(
    _encoding("fp8-channel", "float8_e5m2", (), ("float8_e5m2",)),
    unpack=unpack_e5m2,
    pack=None,
    rescaled=True,
    origin="fp8-e5m2",
)
# told by the marker alone, which also says how wide the groups are
ROTATED_INT8 = tuple(_encoding(name, "int8", (COMFYUI, X2V), (name,), unmarked=False) for name in ROTATED.values())

ENCODINGS = (INT8, *ROTATED_INT8, FP8, E5M2)
# dtype of the codes -> how they are read without a scale
UNSCALED = {"float8_e4m3fn": _unscaled(FP8), "float8_e5m2": _unscaled(E5M2)}
