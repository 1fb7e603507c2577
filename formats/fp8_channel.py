"""fp8-channel: float8 e4m3fn codes, one scale per output channel."""

import torch

from .channel import ChannelLayout, random_like, register

# e4m3: 3 mantissa bits of float32's 23; below 2**-6 the step is constant, 2**-9.
DROPPED_BITS = 20
SMALLEST_NORMAL = 2.0**-6
SUBNORMAL_STEP = 2.0**-9


@register
class Fp8ChannelLayout(ChannelLayout):
    NAME = "X2VFp8Channel"
    CODES = torch.float8_e4m3fn
    MAX = 448.0

    @classmethod
    def round_to_codes(cls, values, seed):
        if seed is not None:
            values = _stochastic_e4m3(values, seed).clamp_(-cls.MAX, cls.MAX)
        return values.to(torch.float8_e4m3fn)


def _stochastic_e4m3(values: torch.Tensor, seed: int) -> torch.Tensor:
    """Float32 values -> float32 values on the e4m3 grid, up or down with probability by distance.

    Adding random bits below the last kept mantissa bit and cutting them off rounds a normal number so; the carry into
    the exponent is the next binade's first value, as it must be.
    """
    random = random_like(values, seed)
    bits = values.view(torch.int32) + (random * 2**DROPPED_BITS).to(torch.int32)
    normal = (bits & -(2**DROPPED_BITS)).view(torch.float32)
    subnormal = values.abs().div_(SUBNORMAL_STEP).add_(random).floor_().mul_(SUBNORMAL_STEP).copysign_(values)
    return torch.where(values.abs() < SMALLEST_NORMAL, subnormal, normal)
