"""Scales of zero over codes that are not, which silence what was quantized, and scales that are reciprocals."""

from collections.abc import Mapping

import torch

from ..formats import FORMATS
from .encodings import WrongValueError
from .encodings.scales import SILENCED

BLOCK_SCALE, FACTOR, OF_ROWS, ZEROS = "block_scale", "pre_quant_scale", "s_channel", "zeros"
MULTIPLIERS = ("scale", FACTOR, OF_ROWS)
# a scale of one, by the bits of the types that have one byte
ONES = {torch.float8_e8m0fnu: 0x7F, torch.uint8: 0x7F, torch.float8_e4m3fn: 0x38}
# below the smallest code of any format; what is left of a scale that cannot be exactly zero lies below
NOTHING = 2.0**-20
CAUSE = SILENCED
REMEDY = "The file is damaged: download it again."
# where half of a layer's scales are larger, its weights were above 1000: no model has those
LARGEST_SCALE = 10.0
# of scales that are kept as the bits of a power of two, which are no numbers
BITS = torch.uint8
TURNED = "is {:.0f} for most rows, which is far too large: it looks like the reciprocal of a scale"
MULTIPLIED = "Get the model in a file whose scales are multiplied by."

Tensors = Mapping[str, torch.Tensor]


def has_zeros(tensors: Tensors) -> bool:
    """Whether one of a layer's scales is zero, as it is for rows that are zero as well; False for scales on meta."""
    return any(_has_zeros(tensors[name]) for name in _names(tensors))


def check_size(tensors: Tensors) -> None:
    """Raise WrongValueError for scales that can only be reciprocals, of which nothing else tells."""
    scale = tensors.get(OF_ROWS, tensors.get("scale"))
    if scale is None or scale.dtype is BITS or scale.is_meta or not scale.numel():
        return
    usual = float(scale.float().abs().median())
    if usual > LARGEST_SCALE:
        raise WrongValueError("scale", TURNED.format(usual), MULTIPLIED)


def check(format_name: str, tensors: Tensors, shape: tuple[int, int]) -> None:
    """Raise WrongValueError if a scale of zero stands over codes that are not zero. `tensors` of a layer of `shape`
    (N, K) as FORMATS names them.

    Scales in e4m3 round to zero where a block is quiet beside the rest of its layer: there it takes a whole row.
    """
    for name in _names(tensors):
        if _has_zeros(tensors[name]) and bool(_silenced(name, format_name, tensors, shape).any()):
            raise WrongValueError(name if name == OF_ROWS else "scale", CAUSE, REMEDY)


def _silenced(name: str, format_name: str, tensors: Tensors, shape: tuple[int, int]) -> torch.Tensor:
    """bool [N]: the rows in which weights are lost by a scale of zero in the tensor `name`."""
    zero = _zero(tensors[name])
    bits = ONES.get(tensors[name].dtype)
    ones = zero.to(tensors[name].dtype) if bits is None else (zero.to(torch.uint8) * bits).view(tensors[name].dtype)
    neutral = {other: torch.ones_like(tensors[other]) for other in MULTIPLIERS if other in tensors}
    if ZEROS in tensors:
        neutral[ZEROS] = torch.zeros_like(tensors[ZEROS])
    hidden = _values(format_name, {**tensors, **neutral, name: ones}, shape).abs() > NOTHING
    silenced = hidden.any(dim=1)
    if tensors[name].dtype is torch.float8_e4m3fn:
        silenced &= ~(_values(format_name, tensors, shape) != 0).any(dim=1)
    return silenced


def _names(tensors: Tensors) -> list[str]:
    """Of the scales that may be zero."""
    return [BLOCK_SCALE if BLOCK_SCALE in tensors else "scale", *([OF_ROWS] if OF_ROWS in tensors else [])]


def _has_zeros(scale: torch.Tensor) -> bool:
    return not scale.is_meta and bool(_zero(scale).any())


def _zero(scale: torch.Tensor) -> torch.Tensor:
    return scale.view(torch.uint8) == 0 if scale.dtype in ONES else scale == 0


def _values(format_name: str, tensors: Tensors, shape: tuple[int, int]) -> torch.Tensor:
    return FORMATS[format_name].wrap(dict(tensors), torch.float32, shape).dequantize()
