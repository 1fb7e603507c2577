"""Smoothed weights: any other format with a factor per input channel (SmoothQuant; AWQ's and ComfyUI's
`pre_quant_scale`), which activations are multiplied by before anything else is done to them.

The codes are those of weight / pre_quant_scale, so the weight is what they stand for, times pre_quant_scale: what makes
an activation's outliers small makes the weights of that channel large, and the product stays what it was.
"""

import dataclasses
import functools

import torch

from . import channel, fp8_reduced, int4_group128, int4_marlin, int8_convrot
from .format import Format
from .layout import ScaledLayout, register

END = "-smooth"
FACTOR = "pre_quant_scale"


class SmoothLayout(ScaledLayout):
    """A subclass adds PLAIN, the layout without the factor, and Params, its Params with one: see `_layout`."""

    PLAIN: type

    @classmethod
    def quantize(cls, tensor, scale=None, stochastic_rounding=None, inplace_ops=False, pre_quant_scale=None, **options):
        """[N, K] float weight -> (codes, Params), computed in float32.

        pre_quant_scale: float [K], None for ones; the weight's columns are divided by it, and `scale`, None or
        "recalculate" for the weight's own, is of what comes out. The others: as the plain layout takes them.
        """
        values = tensor.to(torch.float32, copy=not inplace_ops)
        if pre_quant_scale is None:
            pre_quant_scale = torch.ones(tensor.shape[1])
        pre_quant_scale = pre_quant_scale.to(values.device, torch.float32).contiguous()
        options |= {"scale": scale, "stochastic_rounding": stochastic_rounding, "inplace_ops": True}
        codes, plain = cls.PLAIN.quantize(values.div_(pre_quant_scale), **options)
        fields = _fields(plain) | {"orig_dtype": tensor.dtype, FACTOR: pre_quant_scale}
        return codes, cls.Params(**fields)

    @classmethod
    def dequantize(cls, qdata, params):
        """The plain layout's weight in float32 * pre_quant_scale, rounded once to params.orig_dtype: the weight as it
        was given."""
        fields = _fields(params) | {"orig_dtype": torch.float32}
        del fields[FACTOR]
        values = cls.PLAIN.dequantize(qdata, cls.PLAIN.Params(**fields))
        out = torch.empty(values.shape, dtype=params.orig_dtype, device=values.device)
        return torch.mul(values, params.pre_quant_scale, out=out)

    @classmethod
    def requantize_kwargs(cls, qtensor):
        """A LoRA changes the weight, not the activations that the smoothing was made for."""
        kept = getattr(cls.PLAIN, "requantize_kwargs", ScaledLayout.requantize_kwargs)
        return {**kept(qtensor), FACTOR: qtensor._params.pre_quant_scale}


def _fields(params) -> dict[str, object]:
    return {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}


@functools.cache
def _layout(plain: type, name: str) -> type[SmoothLayout]:
    """The layout called `name` that smooths what `plain` stores."""

    def tensor_fields(self):
        return [*plain.Params._tensor_fields(self), FACTOR]

    # the factor float32 [K], positive and finite; by its name, as other fields may have defaults
    field = (FACTOR, torch.Tensor, dataclasses.field(kw_only=True))
    members = {"_tensor_fields": tensor_fields, "__module__": __name__}
    params = dataclasses.make_dataclass("Params", [field], bases=(plain.Params,), frozen=True, namespace=members)
    return register(type(name, (SmoothLayout,), {"NAME": name, "PLAIN": plain, "Params": params}))


def _format(plain: Format, layout_name: str, marker: str = "") -> Format:
    """`plain` with a factor. marker: a name of ours, by default its own: core would read core's without the factor."""
    name = f"{plain.name}{END}"
    return dataclasses.replace(
        plain,
        name=name,
        layout_name=_layout(plain.layout, layout_name).NAME,
        tensors=(*plain.tensors, FACTOR),
        shared=(*plain.shared, FACTOR),
        activation=plain.activation if plain.activation == "float" else f"{plain.activation}{END}",
        marker=marker or name,
        core_reads=None,
    )


_FP8, _INT8 = channel.FORMATS
(_REDUCED,), (_INT4,), (_MARLIN,) = fp8_reduced.FORMATS, int4_group128.FORMATS, int4_marlin.FORMATS
FORMATS = (
    _format(_FP8, "X2VFp8ChannelSmooth"),
    _format(_INT8, "X2VInt8ChannelSmooth"),
    _format(_REDUCED, "X2VFp8ReducedSmooth", f"{_FP8.name}{END}"),
    *(_format(row, "X2VInt8ConvRotSmooth") for row in int8_convrot.FORMATS),
    _format(_INT4, "X2VInt4Group128Smooth"),
    _format(_MARLIN, "X2VInt4MarlinSmooth"),
)
