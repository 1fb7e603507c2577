"""Smoothed weights: the per-channel formats with a factor per input channel (SmoothQuant; AWQ's and ComfyUI's
`pre_quant_scale`), which activations are multiplied by before they are quantized.

The codes are those of weight / pre_quant_scale, so weight = codes * scale * pre_quant_scale: what makes an activation's
outliers small makes the weights of that channel large, and the product stays what it was.
"""

from dataclasses import dataclass

import torch

from .channel import ChannelLayout, Fp8ChannelLayout, Int8ChannelLayout
from .format import SCALED, Format
from .fp8_reduced import Fp8ReducedLayout
from .layout import register
from .scaled import scaled


class SmoothLayout(ChannelLayout):
    """Mixed in before one of the per-channel layouts."""

    @dataclass(frozen=True)
    class Params(ChannelLayout.Params):
        """pre_quant_scale: float32 [K], positive and finite."""

        pre_quant_scale: torch.Tensor

        def _tensor_fields(self):
            return ["scale", "pre_quant_scale"]

    @classmethod
    def quantize(cls, tensor, scale=None, stochastic_rounding=None, inplace_ops=False, pre_quant_scale=None, **_):
        """[N, K] float weight -> (codes [N, K], Params), computed in float32.

        pre_quant_scale: float [K], None for ones; the weight's columns are divided by it, and `scale`, None or
        "recalculate" for the rows' own, is of what comes out. stochastic_rounding: as the format without smoothing.
        """
        values = tensor.to(torch.float32, copy=not inplace_ops)
        if pre_quant_scale is None:
            pre_quant_scale = torch.ones(tensor.shape[1])
        pre_quant_scale = pre_quant_scale.to(values.device, torch.float32).contiguous()
        codes, scale = cls.encode(values.div_(pre_quant_scale), scale, stochastic_rounding)
        params = cls.Params(
            scale=scale,
            orig_dtype=tensor.dtype,
            orig_shape=tuple(tensor.shape),
            pre_quant_scale=pre_quant_scale,
        )
        return codes, params

    @classmethod
    def dequantize(cls, qdata, params):
        """codes.float() * (scale * pre_quant_scale), rounded once to params.orig_dtype: the weight as it was given."""
        return scaled(qdata, params.scale * params.pre_quant_scale, params.orig_dtype)

    @classmethod
    def requantize_kwargs(cls, qtensor):
        """A LoRA changes the weight, not the activations that the smoothing was made for."""
        return {"pre_quant_scale": qtensor._params.pre_quant_scale}


@register
class Int8ChannelSmoothLayout(SmoothLayout, Int8ChannelLayout):
    NAME = "X2VInt8ChannelSmooth"


@register
class Fp8ChannelSmoothLayout(SmoothLayout, Fp8ChannelLayout):
    NAME = "X2VFp8ChannelSmooth"


@register
class Fp8ReducedSmoothLayout(SmoothLayout, Fp8ReducedLayout):
    NAME = "X2VFp8ReducedSmooth"


SMOOTH = (*SCALED, "pre_quant_scale")
# marked with names of ours: core would read such an int8 layer without its pre_quant_scale
INT8, FP8 = "int8-channel-smooth", "fp8-channel-smooth"
FORMATS = (
    Format(FP8, Fp8ChannelSmoothLayout.NAME, SMOOTH, "fp8-smooth", FP8, "fp8-channel"),
    Format(INT8, Int8ChannelSmoothLayout.NAME, SMOOTH, "int8-smooth", INT8, "int8-channel"),
    Format("fp8-reduced-smooth", Fp8ReducedSmoothLayout.NAME, SMOOTH, "fp8-reduced-smooth", FP8, "fp8-channel"),
)
