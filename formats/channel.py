"""One scale per output channel: int8-channel, symmetric int8 codes [N, K], and fp8-channel, float8 e4m3fn ones; a
float32 scale [N, 1], weight = codes * scale."""

import torch

from .format import SCALED, Format
from .grid import Grid, e4m3, integers
from .layout import ScaledLayout, fresh, register, scale_for
from .rounding import to_codes
from .scaled import scaled


class ChannelLayout(ScaledLayout):
    """What the per-channel formats share. A subclass adds CODES, the dtype of the codes."""

    CODES: torch.dtype

    @classmethod
    def quantize(cls, tensor, scale=None, stochastic_rounding=None, inplace_ops=False, **_):
        """[N, K] float weight -> (codes [N, K], Params), computed in float32.

        scale: None or "recalculate" takes each row's absolute maximum / MAX; a tensor that broadcasts to [N, 1] is
        used as it is. stochastic_rounding: a seed above 0 rounds up or down in proportion to the distance.
        """
        values = tensor.to(torch.float32, copy=not inplace_ops)
        codes, scale = cls.encode(values, scale, stochastic_rounding)
        return codes, cls.Params(scale=scale, orig_dtype=tensor.dtype, orig_shape=tuple(tensor.shape))

    @classmethod
    def encode(cls, values, scale, stochastic_rounding):
        """values float32 [N, K], overwritten; the others as `quantize` takes them -> codes [N, K], scale [N, 1]."""
        if fresh(scale):
            scale = scale_for(values.abs().amax(dim=1, keepdim=True), cls.MAX)
        scale = torch.as_tensor(scale, dtype=torch.float32, device=values.device)
        scale = scale.reshape(-1, 1).expand(values.shape[0], 1).contiguous()
        return to_codes(values.div_(scale), cls.CODES, cls.MAX, stochastic_rounding), scale

    @classmethod
    def dequantize(cls, qdata, params):
        """codes.float() * scale, rounded once to params.orig_dtype."""
        return scaled(qdata, params.scale, params.orig_dtype)


@register
class Fp8ChannelLayout(ChannelLayout):
    NAME = "X2VFp8Channel"
    CODES = torch.float8_e4m3fn
    MAX = 448.0


@register
class Int8ChannelLayout(ChannelLayout):
    NAME = "X2VInt8Channel"
    CODES = torch.int8
    MAX = 127.0


def _tensors(layout: type[ChannelLayout]):
    return lambda codes, scale, whole: {"codes": codes.to(layout.CODES), "scale": scale}


INT8_GRID = Grid(1, None, Int8ChannelLayout.MAX, integers, _tensors(Int8ChannelLayout))
FP8_GRID = Grid(1, None, Fp8ChannelLayout.MAX, e4m3, _tensors(Fp8ChannelLayout))
FORMATS = (
    Format("fp8-channel", Fp8ChannelLayout.NAME, SCALED, "fp8", "fp8-channel", "fp8-channel", grid=FP8_GRID),
    Format("int8-channel", Int8ChannelLayout.NAME, SCALED, "int8", "int8_tensorwise", "int8-channel", grid=INT8_GRID),
)
