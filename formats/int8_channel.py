"""int8-channel: symmetric int8 codes, one scale per output channel."""

import torch

from .channel import ChannelLayout, random_like, register


@register
class Int8ChannelLayout(ChannelLayout):
    NAME = "X2VInt8Channel"
    CODES = torch.int8
    MAX = 127.0

    @classmethod
    def round_to_codes(cls, values, seed):
        if seed is None:
            values.round_()
        else:
            values.add_(random_like(values, seed)).floor_().clamp_(-cls.MAX, cls.MAX)
        return values.to(torch.int8)
