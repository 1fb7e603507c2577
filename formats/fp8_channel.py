"""fp8-channel: float8 e4m3fn codes, one scale per output channel."""

import torch

from .channel import ChannelLayout
from .layout import register


@register
class Fp8ChannelLayout(ChannelLayout):
    NAME = "X2VFp8Channel"
    CODES = torch.float8_e4m3fn
    MAX = 448.0
