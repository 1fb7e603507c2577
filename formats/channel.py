"""Weights with one scale per output channel: codes [N, K] and a float32 scale [N, 1], weight = codes * scale."""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from comfy_kitchen.tensor import QuantizedLayout, QuantizedTensor, register_layout_class
from comfy_kitchen.tensor.base import BaseLayoutParams

# LightX2V's floor for a row's absolute maximum: an all-zero row gets this, never a zero scale.
MIN_AMAX = 1e-5


class ChannelLayout(QuantizedLayout):
    """What the per-channel formats share. A subclass gives NAME (registry key), CODES (dtype), MAX (largest code) and
    `round_to_codes(values, seed)`, and registers itself with `register`."""

    NAME: str
    CODES: torch.dtype
    MAX: float

    @dataclass(frozen=True)
    class Params(BaseLayoutParams):
        """scale: float32 [N, 1]; orig_dtype: dtype of the dequantized weight; orig_shape: (N, K)."""

    @classmethod
    @abstractmethod
    def round_to_codes(cls, values: torch.Tensor, seed: int | None) -> torch.Tensor:
        """Float32 [N, K] values in units of the scale -> codes. seed None: nearest, ties to even; else stochastic."""

    @classmethod
    def quantize(cls, tensor, scale=None, stochastic_rounding=None, inplace_ops=False, **_):
        """[N, K] float weight -> (codes [N, K], Params), computed in float32.

        scale: None or "recalculate" takes each row's absolute maximum / MAX; a tensor that broadcasts to [N, 1] is
        used as it is. stochastic_rounding: a seed above 0 rounds up or down in proportion to the distance.
        """
        values = tensor.to(torch.float32, copy=not inplace_ops)
        if scale is None or isinstance(scale, str):
            scale = values.abs().amax(dim=1, keepdim=True).clamp_(min=MIN_AMAX).div_(cls.MAX)
        scale = torch.as_tensor(scale, dtype=torch.float32, device=values.device)
        scale = scale.reshape(-1, 1).expand(values.shape[0], 1).contiguous()
        values.div_(scale).clamp_(-cls.MAX, cls.MAX)
        codes = cls.round_to_codes(values, stochastic_rounding or None)
        return codes, cls.Params(scale=scale, orig_dtype=tensor.dtype, orig_shape=tuple(tensor.shape))

    @classmethod
    def dequantize(cls, qdata, params):
        """codes.float() * scale, rounded once to params.orig_dtype."""
        return scaled(qdata, params.scale, params.orig_dtype)

    @classmethod
    def get_plain_tensors(cls, qtensor):
        return qtensor._qdata, qtensor._params.scale

    @classmethod
    def state_dict_tensors(cls, qdata, params):
        return {"": qdata, "_scale": params.scale}

    @classmethod
    def wrap(cls, codes: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> QuantizedTensor:
        """Codes [N, K] and scale float32 [N, 1] as they are -> a tensor that reports shape [N, K] and `dtype`."""
        return QuantizedTensor(
            codes, cls.NAME, cls.Params(scale=scale, orig_dtype=dtype, orig_shape=tuple(codes.shape))
        )


def scaled(codes: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """codes [N, K] * scale (float32, broadcasts to [N, K]) in float32, rounded once to `dtype`."""
    if codes.dtype == torch.float8_e4m3fn:
        codes = codes.to(torch.bfloat16)  # exact, and torch has no arithmetic on float8
    # out= lets the GPU round in the same pass instead of writing a float32 copy of the weight
    return torch.mul(codes, scale, out=torch.empty(codes.shape, dtype=dtype, device=codes.device))


def register(layout: type[ChannelLayout]) -> type[ChannelLayout]:
    """Class decorator: make the layout known to comfy_kitchen (twice does no harm: the last one wins)."""
    register_layout_class(layout.NAME, layout)
    return layout


def random_like(values: torch.Tensor, seed: int) -> torch.Tensor:
    """Uniform [0, 1) float32, the same for the same seed, shape and device."""
    generator = torch.Generator(device=values.device).manual_seed(seed)
    return torch.rand(values.shape, dtype=torch.float32, device=values.device, generator=generator)
