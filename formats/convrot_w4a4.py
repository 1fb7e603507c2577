"""convrot-w4a4: signed 4-bit codes of a rotated weight, one scale per output channel (ComfyUI's `convrot_w4a4`).

Rotated as int8-convrot is (formats/int8_convrot.py), weight and activations; the activations become 4 bits per token,
or 8 where the file says so (core's `linear_dtype`). The layout is this pack's, with core's bytes in files, so that it
runs on every ComfyUI. Of all formats here it is the least exact: read it, do not make it.
"""

from dataclasses import dataclass

import torch
from comfy_kitchen.tensor import QuantizedLayout
from comfy_kitchen.tensor.base import BaseLayoutParams

from .format import SCALED, Format
from .grid import Grid, integers
from .int4_group128 import FACTORS, packed, unpacked
from .int8_convrot import rotated
from .layout import fresh, register, scale_for
from .rounding import to_codes

NAME = "convrot-w4a4"
# core's name for it
CORES = "convrot_w4a4"
# the groups that are rotated, the first one where a marker does not say; and what activations become, alike
GROUPS, LINEAR_DTYPES = (256, 64, 16), ("int4", "int8")
LARGEST = 7.0
# core wants K to be a multiple of this
COLUMNS = 64
# of a byte with two codes: what makes code + 8 of them, and back
SIGNS = 0x88


def name_of(group: int, linear_dtype: str = LINEAR_DTYPES[0]) -> str:
    """The format with groups of so many input channels, one of GROUPS, and activations of one of LINEAR_DTYPES."""
    size = "" if group == GROUPS[0] else f"-{group}"
    return f"{NAME}{size}" if linear_dtype == LINEAR_DTYPES[0] else f"{NAME}{size}-{linear_dtype}"


def activation_of(group: int, linear_dtype: str) -> str:
    """What activations become, a name in kernels/activation.py."""
    return f"{linear_dtype}-rotated-{group}"


@register
class ConvRotW4A4Layout(QuantizedLayout):
    NAME = "X2VConvRotW4A4"

    @dataclass(frozen=True)
    class Params(BaseLayoutParams):
        """scale: float32 [N, 1]; orig_dtype: dtype of the dequantized weight; orig_shape: (N, K)."""

        convrot_groupsize: int = GROUPS[0]
        linear_dtype: str = LINEAR_DTYPES[0]

    @classmethod
    def quantize(
        cls,
        tensor,
        scale=None,
        stochastic_rounding=None,
        inplace_ops=False,
        convrot_groupsize=GROUPS[0],
        linear_dtype=LINEAR_DTYPES[0],
        **_,
    ):
        """[N, K] float weight -> (codes int8 [N, K / 2], Params), computed in float32.

        scale: None or "recalculate" takes each row's absolute maximum once rotated / 7; a tensor that broadcasts to
        [N, 1] is used as it is. stochastic_rounding: a seed above 0 rounds up or down in proportion to the distance.
        Raises ValueError if K is no multiple of 64 or of convrot_groupsize.
        """
        rows, columns = tensor.shape
        if columns % max(convrot_groupsize, COLUMNS):
            wanted = max(convrot_groupsize, COLUMNS)
            name = name_of(convrot_groupsize, linear_dtype)
            raise ValueError(f"{name} wants in_features to be a multiple of {wanted}, this layer has {columns}")
        values = rotated(tensor.to(torch.float32), convrot_groupsize)
        if fresh(scale):
            scale = scale_for(values.abs().amax(dim=1, keepdim=True), LARGEST)
        scale = torch.as_tensor(scale, dtype=torch.float32, device=values.device)
        scale = scale.reshape(-1, 1).expand(rows, 1).contiguous()
        codes = to_codes(values.div_(scale), torch.int8, LARGEST, stochastic_rounding)
        params = cls.Params(
            scale=scale,
            orig_dtype=tensor.dtype,
            orig_shape=(rows, columns),
            convrot_groupsize=convrot_groupsize,
            linear_dtype=linear_dtype,
        )
        return signed_pairs(codes), params

    @classmethod
    def dequantize(cls, qdata, params):
        """code * scale, rotated back, in float32, rounded once to params.orig_dtype."""
        return rotated(expanded(qdata) * params.scale, params.convrot_groupsize).to(params.orig_dtype)

    @classmethod
    def get_plain_tensors(cls, qtensor):
        return qtensor._qdata, qtensor._params.scale

    @classmethod
    def requantize_kwargs(cls, qtensor):
        params = qtensor._params
        return {"convrot_groupsize": params.convrot_groupsize, "linear_dtype": params.linear_dtype}

    @classmethod
    def state_dict_tensors(cls, qdata, params):
        """As core has them."""
        return {"": qdata, "_scale": params.scale.flatten()}


def signed_pairs(codes: torch.Tensor) -> torch.Tensor:
    """int8 [N, K] of -8 ... 7 -> int8 [N, K/2]: an even k's code in the low four bits, the next one's in the high."""
    return (packed(codes) ^ SIGNS).view(torch.int8)


def expanded(pairs: torch.Tensor) -> torch.Tensor:
    """The inverse of `signed_pairs`."""
    return unpacked(pairs.view(torch.uint8) ^ SIGNS)


def _tensors(codes, scale, whole):
    return {"codes": signed_pairs(codes.to(torch.int8)), "scale": scale}


def _format(group: int, linear_dtype: str) -> Format:
    return Format(
        name_of(group, linear_dtype),
        ConvRotW4A4Layout.NAME,
        SCALED,
        activation_of(group, linear_dtype),
        CORES,
        NAME,
        # each layer gets the group that divides its K
        multiples=(1, COLUMNS),
        settings={"convrot_groupsize": group, "linear_dtype": linear_dtype},
        grid=Grid(1, None, LARGEST, integers, _tensors, factors=FACTORS, copies=5),
        rotation=group,
        advised=False,
    )


# (group, linear_dtype) -> its name
NAMES = {(group, dtype): name_of(group, dtype) for group in GROUPS for dtype in LINEAR_DTYPES}
FORMATS = tuple(_format(*which) for which in NAMES)
