"""int4-g128: 4-bit codes, two in a byte, a scale for GROUP input channels of an output channel.

A byte holds the code of an even k in its low nibble and of the next, odd k in its high nibble, each as code + 8 (GPTQ's
"uint4b8"); a little-endian int32 [N, K/8] of compressed-tensors, seen as bytes, is the same. weight = code * scale.
"""

import torch

from .format import SCALED, Format
from .grid import Grid, integers
from .layout import ScaledLayout, fresh, register, scale_for
from .rounding import to_codes
from .scaled import grouped, scaled, ungrouped

GROUP = 128
ZERO = 8


@register
class Int4Group128Layout(ScaledLayout):
    NAME = "X2VInt4Group128"
    # a file may hold -8 too; a scale that reached for it would not be symmetric
    MAX = 7.0
    GROUP = GROUP

    @classmethod
    def quantize(cls, tensor, scale=None, stochastic_rounding=None, inplace_ops=False, **_):
        """[N, K] float weight -> (codes uint8 [N, K/2], Params with scale [N, ceil(K / GROUP)]), in float32.

        scale: None or "recalculate" takes each group's absolute maximum / 7; a tensor of that shape, or one value, is
        used as it is. stochastic_rounding: a seed above 0 rounds up or down in proportion to the distance. Raises
        ValueError if K is odd.
        """
        rows, columns = tensor.shape
        if columns % 2:
            name = f"int4-g{cls.GROUP}"
            raise ValueError(f"{name} stores two codes in a byte: in_features has to be even, this layer has {columns}")
        values = grouped(tensor.to(torch.float32, copy=not inplace_ops), cls.GROUP)
        if fresh(scale):
            scale = scale_for(values.abs().amax(dim=2), cls.MAX)
        scale = torch.as_tensor(scale, dtype=torch.float32, device=values.device)
        scale = scale.expand(rows, values.shape[1]).contiguous()
        codes = to_codes(values.div_(scale.unsqueeze(2)), torch.int8, cls.MAX, stochastic_rounding)
        params = cls.Params(scale=scale, orig_dtype=tensor.dtype, orig_shape=(rows, columns))
        return packed(ungrouped(codes, columns)), params

    @classmethod
    def dequantize(cls, qdata, params):
        """code * the group's scale in float32, rounded once to params.orig_dtype."""
        codes = grouped(unpacked(qdata), cls.GROUP)
        return ungrouped(scaled(codes, params.scale.unsqueeze(2), params.orig_dtype), params.orig_shape[1])


def packed(codes: torch.Tensor) -> torch.Tensor:
    """int8 [N, K] of -8 ... 7 -> uint8 [N, K/2]."""
    nibbles = (codes + ZERO).view(torch.uint8)
    return nibbles[:, 0::2] | (nibbles[:, 1::2] << 4)


def unpacked(nibbles: torch.Tensor) -> torch.Tensor:
    """uint8 [N, K/2] -> int8 [N, K] of -8 ... 7."""
    # spread over the two bytes of an int16: the low nibble comes first in memory
    wide = nibbles.to(torch.int16)
    return wide.bitwise_or_(wide << 4).bitwise_and_(0x0F0F).view(torch.int8).sub_(ZERO)


# of the scale that clips nothing; what is searched may clip
FACTORS = tuple(1 - 0.025 * step for step in range(17))


def _tensors(codes, scale, whole):
    return {"codes": packed(codes.to(torch.int8)), "scale": scale}


def _format(name: str, layout: type[ScaledLayout]) -> Format:
    grid = Grid(1, layout.GROUP, layout.MAX, integers, _tensors, factors=FACTORS, lowest=-float(ZERO), copies=5)
    return Format(name, layout.NAME, SCALED, "float", name, name, multiples=(1, 2), grid=grid)


FORMATS = (_format("int4-g128", Int4Group128Layout),)
