"""GPTQ's 4 bits: eight codes of a column, along the input channels, in an int32 [K/8, N], the first one lowest.

Zero points are in int32 [groups, N/8]. Version 1 of the format stores them minus one, version 2 (`checkpoint_format:
gptq_v2`) as they are; which one a file is, all of its layers tell together (checkpoints/zero_points.py). A symmetric
layer has 7s or 8s alone, as a zero point of 7 or 9 for every group is none that a quantizer would choose: with groups
of 128 it is int4-g128, whatever the version. Any other is awq-w4a16.
"""

import math
from functools import partial

import torch

from ...formats.awq_w4a16 import GROUPS, name_of
from ...formats.int4_group128 import ZERO
from .autoawq import TENSORS, nibbles, with_zeros
from .encoding import Encoding, TensorRole, WrongValueError
from .groups import GROUP, check_order
from .scales import signed_scale

PER_WORD = 8
# every nibble of a byte of zero points
SYMMETRIC = (0x77, 0x88)
ORIGIN = "GPTQ"
IN_ORDER = tuple(range(PER_WORD))
# what the file's version has taken off its zero points, 1 or 0
TAKEN_OFF = "taken_off"


def shape(shapes, group=GROUP):
    words, n = shapes["codes"]
    k = words * PER_WORD
    groups = math.ceil(k / group)
    zeros = shapes.get("zeros", (groups, n // PER_WORD))
    fits = shapes["scale"] == (groups, n) and zeros == (groups, n // PER_WORD) and n % PER_WORD == 0
    return (n, k) if fits else None


def shape_asymmetric(shapes, group):
    fitting = shape(shapes, group)
    return fitting if fitting and fitting[1] % group == 0 else None


def starts_symmetric(starts):
    """starts: the first bytes of the tensors, by role."""
    first = set(starts.get("zeros", b""))
    return len(first) <= 1 and first <= set(SYMMETRIC)


def is_symmetric(zeros: torch.Tensor) -> bool:
    """zeros: int32, eight zero points in each."""
    stored = zeros.contiguous().view(torch.uint8)
    return any(bool((stored == both).all()) for both in SYMMETRIC)


def unpack(tensors, shape):
    if not is_symmetric(tensors["zeros"]):
        raise WrongValueError(
            "zeros", "is symmetric at its beginning and has zero points other than 8 (asymmetric int4) behind it"
        )
    check_order(tensors, shape, GROUP)
    return {"codes": _codes(tensors, shape), "scale": signed_scale(tensors["scale"].t())}


def unpack_asymmetric(tensors, shape, group):
    check_order(tensors, shape, group)
    codes, scale, zeros = _codes(tensors, shape), signed_scale(tensors["scale"]), nibbles(tensors["zeros"], IN_ORDER)
    zeros = torch.full_like(zeros, ZERO) if is_symmetric(tensors["zeros"]) else zeros + tensors[TAKEN_OFF] & 0x0F
    return {"codes": codes.view(torch.int8), **with_zeros(scale, zeros)}


def _codes(tensors, shape):
    """uint8 [N, K / 2]: a byte of a word has two neighbouring input channels, as a byte of int4-g128 does."""
    codes = tensors["codes"].contiguous().view(torch.uint8).view(-1, shape[0], 4).transpose(0, 1)
    return codes.reshape(shape[0], shape[1] // 2)


_TENSORS = {**TENSORS, "g_idx": TensorRole(("g_idx",), ("int32", "int64"), optional=True)}


def _asymmetric(group: int) -> Encoding:
    of_group = partial(shape_asymmetric, group=group), partial(unpack_asymmetric, group=group)
    # symmetric ones of other groups than int4-g128's as well
    starts = (lambda starts: not starts_symmetric(starts)) if group == GROUP else None
    return Encoding(name_of(group), _TENSORS, *of_group, starts=starts, of_file=TAKEN_OFF, origin=ORIGIN)


ENCODINGS = (
    Encoding("int4-g128", _TENSORS, shape, unpack, starts=starts_symmetric, origin=ORIGIN),
    *map(_asymmetric, GROUPS),
)
