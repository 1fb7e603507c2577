"""fp8-reduced: fp8-channel with codes up to 28, for matmuls that accumulate in float16.

Activation codes go up to 32, so that 64 products sum up to at most 28 * 32 * 64 = 57344, which float16 holds. A code is
as precise as any other of e4m3; what is lost is the smallest: subnormals start at 28 / 1792 of a row's maximum instead
of 448 / 28672.
"""

import torch

from .channel import ChannelLayout
from .format import SCALED, Format
from .layout import register


@register
class Fp8ReducedLayout(ChannelLayout):
    NAME = "X2VFp8Reduced"
    CODES = torch.float8_e4m3fn
    MAX = 28.0


FORMATS = (Format("fp8-reduced", Fp8ReducedLayout.NAME, SCALED, "fp8-reduced", "fp8-channel", "fp8-channel"),)
