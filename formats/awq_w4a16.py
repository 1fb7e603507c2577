"""awq-w4a16: 4-bit codes with a scale and a zero point for every group of input channels: ComfyUI's `awq_w4a16`, the
files of AutoAWQ, and those of GPTQ that are not symmetric.

A byte has the code of an even k in its low nibble and that of the next, odd k in its high nibble, q = 0 ... 15:

    weight = (q - 8) * scale + zeros

A zero point z among the codes, weight = (q - z) * scale, is zeros = (8 - z) * scale. The layout is this pack's on every
ComfyUI: comfy-kitchen's, which has the same bytes in files, cannot quantize, as a LoRA and Quantize Model have to, and
needs a comfy-kitchen that has it.
"""

from dataclasses import dataclass

import torch
from comfy_kitchen.tensor import QuantizedLayout
from comfy_kitchen.tensor.base import BaseLayoutParams

from .format import SCALED, Format
from .grid import integers
from .int4_group128 import FACTORS, ZERO, packed, unpacked
from .layout import fresh, register
from .rounding import to_codes
from .zero_point_grid import ZeroPointGrid

NAME = "awq-w4a16"
# core's name for it, and the channels of a group where a marker does not say
CORES, DEFAULT_GROUP = "awq_w4a16", 64
GROUPS = (DEFAULT_GROUP, 32, 128)
LARGEST = 15


def name_of(group: int) -> str:
    """The format with groups of so many input channels, one of GROUPS."""
    return NAME if group == DEFAULT_GROUP else f"{NAME}-{group}"


@register
class AwqW4A16Layout(QuantizedLayout):
    NAME = "X2VAwqW4A16"

    @dataclass(frozen=True)
    class Params(BaseLayoutParams):
        """scale, zeros: float [N, K / group_size], of the type that `narrowed` finds for their values; orig_dtype:
        dtype of the dequantized weight; orig_shape: (N, K)."""

        zeros: torch.Tensor
        group_size: int = DEFAULT_GROUP

        def _tensor_fields(self):
            return ["scale", "zeros"]

        def _validate_tensor_fields(self):
            """They keep their types, where the base would make the scale float32."""

    @classmethod
    def quantize(
        cls,
        tensor,
        scale=None,
        stochastic_rounding=None,
        inplace_ops=False,
        zeros=None,
        group_size=DEFAULT_GROUP,
        **_,
    ):
        """[N, K] float weight -> (codes int8 [N, K / 2], Params), computed in float32.

        scale: None or "recalculate" takes the range from the smallest to the largest of each group / 15, and with it
        the `zeros` in the middle, both rounded to bfloat16; else both are float [N, K / group_size] and used as they
        are. stochastic_rounding: a seed above 0 rounds up or down in proportion to the distance. Raises ValueError if
        group_size does not divide K.
        """
        rows, columns = tensor.shape
        if columns % group_size:
            name = name_of(group_size)
            raise ValueError(f"{name} has groups of {group_size} in_features, this layer has {columns}")
        values = tensor.to(torch.float32, copy=not inplace_ops)
        if fresh(scale):
            scale, zeros = _apart(GRIDS[group_size].absmax(values))
        values = values.unflatten(1, (-1, group_size))
        values.sub_(zeros.float().unsqueeze(2)).div_(scale.float().unsqueeze(2))
        codes = to_codes(values, torch.int8, LARGEST - ZERO, stochastic_rounding, smallest=-ZERO)
        params = cls.Params(
            scale=scale.contiguous(),
            orig_dtype=tensor.dtype,
            orig_shape=(rows, columns),
            zeros=zeros.contiguous(),
            group_size=group_size,
        )
        return packed(codes.flatten(1)).view(torch.int8), params

    @classmethod
    def dequantize(cls, qdata, params):
        """(q - 8) * scale + zeros in float32, rounded once to params.orig_dtype; exact for a scale of 16 bits and zeros
        that are a whole number of it."""
        codes = unpacked(qdata.view(torch.uint8)).unflatten(1, (-1, params.group_size))
        out = torch.empty(codes.shape, dtype=params.orig_dtype, device=codes.device)
        scale, zeros = (one.float().unsqueeze(2) for one in (params.scale, params.zeros))
        # out= lets the GPU round in the same pass instead of writing a float32 copy of the weight
        return torch.addcmul(zeros, codes, scale, out=out).flatten(1)

    @classmethod
    def get_plain_tensors(cls, qtensor):
        return qtensor._qdata, qtensor._params.scale, qtensor._params.zeros

    @classmethod
    def requantize_kwargs(cls, qtensor):
        return {"group_size": qtensor._params.group_size}

    @classmethod
    def state_dict_tensors(cls, qdata, params):
        """As core has them: a row for each group, both in one type where core reads them."""
        scale, zeros = params.scale, params.zeros
        if core_reads(params):
            dtype = type_for_core(scale, zeros)
            scale, zeros = scale.to(dtype), zeros.to(dtype)
        return {"": qdata, "_scale": scale.t().contiguous(), "_zeros": zeros.t().contiguous()}


def narrowed(values: torch.Tensor) -> torch.Tensor:
    """Float values in the smallest type that has every one of them: bfloat16, float16 or float32."""
    values = values.to(torch.float32)
    fitting = (dtype for dtype in (torch.bfloat16, torch.float16) if torch.equal(values.to(dtype).float(), values))
    return values.to(next(fitting, torch.float32))


def type_for_core(scale: torch.Tensor, zeros: torch.Tensor) -> torch.dtype:
    """The 16-bit type for both, as core's kernels take them: float16 for scales that were in it, where it has room for
    the zero points; they may lose bits. Else bfloat16."""
    room = scale.dtype is torch.float16 and not zeros.is_meta and bool(zeros.to(torch.float16).isfinite().all())
    return torch.float16 if room else torch.bfloat16


def core_reads(params: AwqW4A16Layout.Params) -> bool:
    """Whether core, which has groups of 64, reads a weight with these Params."""
    return params.group_size == DEFAULT_GROUP


def _in_bfloat16(scale: torch.Tensor, whole: torch.Tensor | None) -> torch.Tensor:
    return scale.to(torch.bfloat16).to(torch.float32)


def _apart(pairs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[N, groups, 2] -> scale and zeros in bfloat16 and memory of their own: `contiguous` would leave the strides of a
    single value as they are, with which it cannot be viewed as bytes."""
    scale, zeros = pairs.to(torch.bfloat16).unbind(-1)
    return scale.clone(memory_format=torch.contiguous_format), zeros.clone(memory_format=torch.contiguous_format)


def _tensors(codes, scale, whole):
    scale, zeros = _apart(scale)
    return {"codes": packed(codes.to(torch.int8)).view(torch.int8), "scale": scale, "zeros": zeros}


def _grid(group: int) -> ZeroPointGrid:
    limits = {"largest": float(LARGEST - ZERO), "lowest": -float(ZERO), "per_value": 2, "copies": 5}
    return ZeroPointGrid(1, group, nearest=integers, tensors=_tensors, storable=_in_bfloat16, factors=FACTORS, **limits)


GRIDS = {group: _grid(group) for group in GROUPS}


def _format(group: int) -> Format:
    return Format(
        name_of(group),
        AwqW4A16Layout.NAME,
        (*SCALED, "zeros"),
        "float",
        CORES,
        NAME,
        core_reads,
        multiples=(1, group),
        settings={"group_size": group},
        grid=GRIDS[group],
    )


FORMATS = tuple(map(_format, GROUPS))
