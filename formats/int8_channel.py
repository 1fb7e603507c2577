"""int8-channel: symmetric int8 codes, one scale per output channel."""

import torch

from .channel import ChannelLayout
from .layout import register


@register
class Int8ChannelLayout(ChannelLayout):
    NAME = "X2VInt8Channel"
    CODES = torch.int8
    MAX = 127.0
