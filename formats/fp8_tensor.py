"""fp8-tensor: float8 e4m3fn codes with one scale, and a static scale for the activations (ComfyUI's "fp8_scaled" files,
LightX2V's fp8-pertensor)."""

from dataclasses import dataclass
from typing import Any

import torch

from .format import SCALED, Format
from .grid import Grid, e4m3
from .layout import ScaledLayout, fresh, register, scale_for
from .rounding import to_codes
from .scaled import scaled


@register
class Fp8TensorLayout(ScaledLayout):
    """scale: float32 [1, 1], or [N, 1] where a file has one per row. input_scale: float32 [1], what activations are
    divided by; [0], no value at all, in a weight that was never calibrated: then they are divided by their own
    absolute maximum / 448, which takes a pass over them but needs no wait for the GPU."""

    NAME = "X2VFp8Tensor"
    MAX = 448.0

    @dataclass(frozen=True)
    class Params(ScaledLayout.Params):
        input_scale: torch.Tensor

        def _tensor_fields(self):
            return ["scale", "input_scale"]

    @classmethod
    def quantize(
        cls, tensor, scale=None, stochastic_rounding=None, inplace_ops=False, input_scale=None, per_row=False, **_
    ):
        """[N, K] float weight -> (codes [N, K], Params), computed in float32.

        scale: None or "recalculate" takes the absolute maximum / 448, of each row if `per_row`; a tensor of one or N
        values is used as it is. input_scale: kept as it is. stochastic_rounding: a seed above 0 rounds up or down in
        proportion to the distance.
        """
        values = tensor.to(torch.float32, copy=not inplace_ops)
        if fresh(scale):
            amax = values.abs().amax(dim=1) if per_row else values.abs().amax()
            scale = scale_for(amax, cls.MAX)
        scale = torch.as_tensor(scale, dtype=torch.float32, device=values.device).reshape(-1, 1)
        codes = to_codes(values.div_(scale), torch.float8_e4m3fn, cls.MAX, stochastic_rounding)
        if input_scale is None:
            input_scale = torch.empty(0, dtype=torch.float32, device=values.device)
        params = cls.Params(
            scale=scale, orig_dtype=tensor.dtype, orig_shape=tuple(tensor.shape), input_scale=input_scale
        )
        return codes, params

    @classmethod
    def dequantize(cls, qdata, params):
        """codes.float() * scale, rounded once to params.orig_dtype."""
        return scaled(qdata, params.scale, params.orig_dtype)

    @classmethod
    def requantize_kwargs(cls, qtensor):
        """A LoRA changes the weight, not what was calibrated for its input."""
        params = qtensor._params
        calibrated = {"input_scale": params.input_scale} if params.input_scale.numel() else {}
        return calibrated | ({"per_row": True} if params.scale.shape[0] > 1 else {})

    @classmethod
    def state_dict_tensors(cls, qdata, params):
        """As core's "float8_e4m3fn" has them: one scale is a scalar. The layer saves input_scale."""
        scale = params.scale
        return {"": qdata, "_scale": scale.reshape(()) if scale.numel() == 1 else scale}


def core_reads(params: Any) -> bool:
    """Whether core's "float8_e4m3fn" computes this weight as we do: it takes one scale, and without an input_scale it
    would not scale activations at all."""
    return params.scale.numel() == 1 and params.input_scale.numel() == 1


def _tensors(codes, scale, whole):
    return {"codes": codes.to(torch.float8_e4m3fn), "scale": scale, "input_scale": scale.new_empty(0)}


def _one_scale(amax: torch.Tensor) -> torch.Tensor:
    return scale_for(amax, Fp8TensorLayout.MAX)


def _of_whole(scale: torch.Tensor, whole: torch.Tensor | None) -> torch.Tensor:
    return scale if whole is None else whole.reshape(1, 1)


FORMATS = (
    Format(
        "fp8-tensor",
        Fp8TensorLayout.NAME,
        (*SCALED, "input_scale"),
        "fp8-static",
        "float8_e4m3fn",
        "fp8-tensor",
        core_reads,
        grid=Grid(None, None, Fp8TensorLayout.MAX, e4m3, _tensors, _of_whole, _one_scale),
        shared=("scale", "input_scale"),
    ),
)
