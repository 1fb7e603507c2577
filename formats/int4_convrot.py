"""int4-g128-convrot: int4-g128 of a rotated weight. Groups of input channels are rotated as int8-convrot's are, in the
weight once and in the activations, which stay 16-bit: what GPTQ rounds then has no outliers. A format of ours alone."""

from dataclasses import dataclass

import torch

from . import int4_group128
from .format import SCALED, Format
from .int4_group128 import Int4Group128Layout
from .int8_convrot import DEFAULT_GROUP, rotated
from .layout import register

NAME = "int4-g128-convrot"
# every K that is a multiple of 4 has one of them
ROTATIONS = (DEFAULT_GROUP, 64, 16, 4)


def name_of(rotation: int) -> str:
    """The format whose groups of so many input channels, one of ROTATIONS, are rotated."""
    return NAME if rotation == DEFAULT_GROUP else f"{NAME}-{rotation}"


@register
class Int4Group128ConvRotLayout(Int4Group128Layout):
    NAME = "X2VInt4Group128ConvRot"

    @dataclass(frozen=True)
    class Params(Int4Group128Layout.Params):
        """convrot_groupsize: input channels that are rotated together."""

        convrot_groupsize: int = DEFAULT_GROUP

    @classmethod
    def quantize(cls, tensor, scale=None, stochastic_rounding=None, convrot_groupsize=DEFAULT_GROUP, **_):
        """[N, K] float weight -> (codes uint8 [N, K/2], Params), computed in float32; `scale`, None or "recalculate"
        for the rotated weight's own, and stochastic_rounding as int4-g128 takes them. Raises ValueError unless K is a
        multiple of convrot_groupsize."""
        if tensor.shape[1] % convrot_groupsize:
            raise ValueError(
                f"{name_of(convrot_groupsize)} wants in_features to be a multiple of {convrot_groupsize}, this layer "
                f"has {tensor.shape[1]}"
            )
        values = rotated(tensor.to(torch.float32), convrot_groupsize)
        codes, plain = super().quantize(values, scale, stochastic_rounding, inplace_ops=True)
        return codes, cls.Params(
            scale=plain.scale,
            orig_dtype=tensor.dtype,
            orig_shape=tuple(tensor.shape),
            convrot_groupsize=convrot_groupsize,
        )

    @classmethod
    def dequantize(cls, qdata, params):
        """code * the group's scale, rotated back in float32, rounded once to params.orig_dtype."""
        plain = Int4Group128Layout.Params(params.scale, torch.float32, params.orig_shape)
        return rotated(Int4Group128Layout.dequantize(qdata, plain), params.convrot_groupsize).to(params.orig_dtype)

    @classmethod
    def requantize_kwargs(cls, qtensor):
        """A LoRA changes the weight, not how it is rotated."""
        return {"convrot_groupsize": qtensor._params.convrot_groupsize}


def _format(rotation: int) -> Format:
    (plain,) = int4_group128.FORMATS
    name = name_of(rotation)
    return Format(
        name,
        Int4Group128ConvRotLayout.NAME,
        SCALED,
        "float",
        name,
        NAME,
        multiples=(1, min(ROTATIONS)),
        settings={"convrot_groupsize": rotation},
        grid=plain.grid,
        rotation=rotation,
    )


FORMATS = tuple(map(_format, ROTATIONS))
