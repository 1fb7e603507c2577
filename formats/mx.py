"""mxfp4 and mxfp6: codes of 4 bits (e2m1) or 6 (e3m2) and a power of two per 32 input channels, LightX2V's formats of
these names.

weight = code * 2^(scale - 127), the scale a byte (e8m0), 255 of which is no number. It is the shared exponent of OCP's
Microscaling Formats 1.0 (section 6.3), of a maximum that is rounded to the precision of a code first: floor(log2) of
that, less the largest exponent of a code. So a maximum that a code cannot tell from the next power of two gets it, and
nothing is cut off by more than half a step. (Of Gaussian weights this leaves 11.19 % for e2m1; the plain formula 11.50,
LightX2V's, which rounds the scale up, 11.53.)
"""

from collections.abc import Callable

import torch

from .format import SCALED, Format
from .grid import Grid, e2m1
from .layout import ScaledLayout, fresh, register
from .rounding import FLOAT32_MANTISSA, to_minifloat
from .scaled import grouped, ungrouped

BLOCK = 32
# values -> the nearest that codes have, both float32
Rounds = Callable[[torch.Tensor], torch.Tensor]
# what a block of zeros gets: the smallest whose float32 is a normal number
SMALLEST = 1
# float16's bits and bias, as FLOAT32_MANTISSA of rounding.py
HALF_MANTISSA, HALF_BIAS = 10, 15


class MxLayout(ScaledLayout):
    """A subclass adds EXPONENT and MANTISSA, the bits of a code beside its sign, `pack` and `unpack`."""

    EXPONENT: int
    MANTISSA: int

    @classmethod
    def quantize(cls, tensor, scale=None, stochastic_rounding=None, inplace_ops=False, **_):
        """[N, K] float weight -> (codes uint8, packed as `pack` says, Params with scale uint8 [N, K / 32]), in float32.

        scale: None or "recalculate" takes each block's own; bytes that broadcast to that shape are used as they are.
        Codes are the nearest, ties to even, within the largest. stochastic_rounding: a seed above 0 rounds up or down
        in proportion to the distance. Raises ValueError unless K is a multiple of 32.
        """
        rows, columns = tensor.shape
        if columns % BLOCK:
            raise ValueError(f"a scale is for {BLOCK} in_features: they have to be a multiple of it, not {columns}")
        values = grouped(tensor.to(torch.float32, copy=not inplace_ops), BLOCK)
        scale = cls.scale_for(values.abs().amax(dim=2)) if fresh(scale) else scale
        scale = torch.as_tensor(scale, device=values.device).expand(rows, columns // BLOCK).contiguous()
        values.div_(scale_value(scale).unsqueeze(2))
        codes = to_minifloat(values, cls.EXPONENT, cls.MANTISSA, cls.MAX, stochastic_rounding)
        params = cls.Params(scale=scale, orig_dtype=tensor.dtype, orig_shape=(rows, columns))
        return cls.pack(ungrouped(codes, columns)), params

    @classmethod
    def scale_for(cls, amax):
        """Absolute maxima float32 -> scales uint8 of the same shape."""
        rounded = amax.view(torch.int32) + (1 << (FLOAT32_MANTISSA - 1 - cls.MANTISSA))
        # a code's largest exponent is 2^(EXPONENT - 1)
        return ((rounded >> FLOAT32_MANTISSA) - (1 << (cls.EXPONENT - 1))).clamp_(min=SMALLEST).to(torch.uint8)

    @classmethod
    def dequantize(cls, qdata, params):
        """code * 2^(scale - 127) in float32, rounded once to params.orig_dtype."""
        # a code's bits where float16 has its exponent and mantissa: its value but for the exponents' bias
        bits = cls.unpack(qdata).view(torch.int8).to(torch.int16)
        width = 1 + cls.EXPONENT + cls.MANTISSA
        bits <<= HALF_MANTISSA - cls.MANTISSA - (8 - width)
        bits &= -0x8000 | ((1 << (HALF_MANTISSA + cls.EXPONENT)) - 1)
        values = grouped(bits.view(torch.float16), BLOCK)
        unbiased = scale_value(params.scale) * 2.0 ** (HALF_BIAS - ((1 << (cls.EXPONENT - 1)) - 1))
        result = torch.empty(values.shape, dtype=params.orig_dtype, device=values.device)
        return torch.mul(values, unbiased.unsqueeze(2), out=result).flatten(1)

    @staticmethod
    def pack(codes: torch.Tensor) -> torch.Tensor:
        """uint8 [N, K], a code in the lowest bits of each -> the codes as a weight has them."""
        raise NotImplementedError

    @staticmethod
    def unpack(packed: torch.Tensor) -> torch.Tensor:
        """The way back, a code in the highest bits of each byte."""
        raise NotImplementedError


@register
class Mxfp4Layout(MxLayout):
    """[N, K / 2]: the code of an even k in the low nibble of a byte, that of the next, odd k in the high one."""

    NAME = "X2VMxfp4"
    EXPONENT, MANTISSA, MAX = 2, 1, 6.0

    @staticmethod
    def pack(codes):
        return codes[:, 0::2] | codes[:, 1::2] << 4

    @staticmethod
    def unpack(packed):
        # spread over the two bytes of an int16: the low nibble comes first in memory
        wide = packed.to(torch.int16)
        return (wide << 4 & 0x00F0 | wide << 8 & -0x1000).view(torch.uint8)


@register
class Mxfp6Layout(MxLayout):
    """[N, 3 K / 4]: a row's low nibbles as mxfp4 has them, K / 2 bytes, then the two high bits of its codes, four in a
    byte, that of the first in the lowest bits. A kernel reads whole words of both; in files the six bits of a code
    stand together (`from_stream`)."""

    NAME = "X2VMxfp6"
    EXPONENT, MANTISSA, MAX = 3, 2, 28.0

    @staticmethod
    def pack(codes):
        high = codes >> 4
        high = high[:, 0::4] | high[:, 1::4] << 2 | high[:, 2::4] << 4 | high[:, 3::4] << 6
        return torch.cat([Mxfp4Layout.pack(codes & 15), high], dim=1)

    @staticmethod
    def unpack(packed):
        low, high = packed.tensor_split([packed.shape[1] // 3 * 2], dim=1)
        high = torch.stack([high << 6, high << 4 & 0xC0, high << 2 & 0xC0, high & 0xC0], dim=2).flatten(1)
        # the low nibble is in the highest bits
        return high | Mxfp4Layout.unpack(low.contiguous()) >> 2


def scale_value(scale: torch.Tensor) -> torch.Tensor:
    """Scales uint8 -> float32: 2^(scale - 127), exact."""
    exponent = scale.to(torch.int32)
    # 0 is no normal number
    smallest = (exponent == 0).to(torch.int32) << (FLOAT32_MANTISSA - 1)
    return (exponent << FLOAT32_MANTISSA | smallest).view(torch.float32)


def to_stream(packed: torch.Tensor) -> torch.Tensor:
    """mxfp6 codes as Mxfp6Layout has them -> uint8 [N, 3 K / 4] with four codes in every three bytes, the first in the
    lowest bits: LightX2V's and CUTLASS's order."""
    codes = (Mxfp6Layout.unpack(packed) >> 2).unflatten(1, (-1, 4))
    a, b, c, d = codes.unbind(dim=2)
    return torch.stack([a | b << 6, b >> 2 | c << 4, c >> 4 | d << 2], dim=2).flatten(1)


def from_stream(stream: torch.Tensor) -> torch.Tensor:
    """The way back from `to_stream`."""
    first, second, third = stream.unflatten(1, (-1, 3)).unbind(dim=2)
    codes = (first & 63, first >> 6 | (second & 15) << 2, second >> 4 | (third & 3) << 4, third >> 2)
    return Mxfp6Layout.pack(torch.stack(codes, dim=2).flatten(1))


def e3m2(values: torch.Tensor) -> torch.Tensor:
    """The nearest values of the 6-bit float e3m2, half to even, for float32 values within +-28."""
    size = values.abs().clamp_(min=2.0**-2)
    # a quarter of the power of two below
    step = (size.view(torch.int32) & -(1 << FLOAT32_MANTISSA)).view(torch.float32).mul_(0.25)
    return (values / step).round_().mul_(step)


# what a search tries beside the scale of `quantize`, for codes of so few bits that it may find a better one
FACTORS = (1.0, 0.5, 2.0)


def _format(name: str, layout: type[MxLayout], activation: str, nearest: Rounds, factors=()) -> Format:
    def power_of_two(scale, whole):
        return scale_value(layout.scale_for(scale * layout.MAX))

    def tensors(codes, scale, whole):
        packed = layout.pack(to_minifloat(codes, layout.EXPONENT, layout.MANTISSA, layout.MAX, None))
        return {"codes": packed, "scale": (scale.view(torch.int32) >> FLOAT32_MANTISSA).to(torch.uint8)}

    grid = Grid(1, BLOCK, layout.MAX, nearest, tensors, power_of_two, factors=factors)
    return Format(name, layout.NAME, SCALED, activation, name, name, multiples=(1, BLOCK), grid=grid)


FORMATS = (
    _format("mxfp4", Mxfp4Layout, "mxfp4", e2m1, FACTORS),
    _format("mxfp6", Mxfp6Layout, "mxfp8", e3m2),
)
