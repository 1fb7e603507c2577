"""w4a8: 4-bit codes of a rotated weight, multiplied as int8 (ComfyUI's `asym_w4a8_int8`, of 0.31 and newer).

In a layout of ours with core's tensors, which w4a8_codes.py describes: no ComfyUI before 0.31 has one, and a newer one
multiplies a weight in its own past the layer (core_layout.py says more). Groups of input channels are rotated as
int8-convrot's are.
"""

from dataclasses import dataclass

import torch
from comfy_kitchen.tensor import QuantizedLayout
from comfy_kitchen.tensor.base import BaseLayoutParams

from . import int8_convrot
from .codebook_grid import CodebookGrid
from .format import SCALED, Format
from .int8_convrot import DEFAULT_GROUP, rotated
from .layout import register
from .lloyd_max import LEVELS
from .w4a8_codes import GROUP, PER_BYTE, levels
from .w4a8_fit import CHUNK, choose_codebook, fit, sampled_rows

NAME = "w4a8"
MARKER = "asym_w4a8_int8"
# core's layout
CORES = "AsymW4A8Int8Layout"
# every K that is a multiple of 16 has one of them
ROTATIONS = (DEFAULT_GROUP, 16, 64)
TENSORS = (*SCALED, "s_channel", "codebook")


GRID = CodebookGrid()


def name_of(rotation: int) -> str:
    """The format whose groups of so many input channels, one of ROTATIONS, are rotated."""
    return NAME if rotation == DEFAULT_GROUP else f"{NAME}-{rotation}"


@register
class W4A8Layout(QuantizedLayout):
    """As core's, without what core keeps of other variants: a correction, and no codebook."""

    NAME = "X2VW4A8"

    @dataclass(frozen=True)
    class Params(BaseLayoutParams):
        """scale, s_channel, codebook: see w4a8_codes.py. group_size: input channels that share a scale;
        convrot_groupsize: those that are rotated together."""

        s_channel: torch.Tensor
        codebook: torch.Tensor
        group_size: int = GROUP
        convrot_groupsize: int = DEFAULT_GROUP

        def _tensor_fields(self):
            return list(TENSORS[1:])

    @classmethod
    def quantize(cls, tensor, convrot_groupsize=DEFAULT_GROUP, codebook_tensor=None, stochastic_rounding=None, **_):
        """[N, K] float weight -> (codes int8 [N, K/2], Params), computed in float32.

        codebook_tensor: kept as it is; None for the one that suits the weight. Scales are always the weight's own.
        stochastic_rounding: a seed above 0 rounds up or down in proportion to the distance. Raises ValueError unless K
        is a multiple of 16 and of convrot_groupsize.
        """
        rows, columns = tensor.shape
        _check(columns, convrot_groupsize)
        if codebook_tensor is None:
            codebook_tensor = choose_codebook(tensor[sampled_rows(rows, columns).to(tensor.device)], convrot_groupsize)
        codebook = codebook_tensor.to(tensor.device, torch.float32)
        codes, scale, s_channel = fit(tensor, convrot_groupsize, codebook, stochastic_rounding or 0)
        params = cls.Params(
            scale=scale,
            orig_dtype=tensor.dtype,
            orig_shape=(rows, columns),
            s_channel=s_channel,
            codebook=codebook,
            convrot_groupsize=convrot_groupsize,
        )
        return codes, params

    @classmethod
    def dequantize(cls, qdata, params):
        """Levels * s_channel, rotated back in float32, rounded once to params.orig_dtype."""
        rows, columns = params.orig_shape
        out = torch.empty((rows, columns), dtype=params.orig_dtype, device=qdata.device)
        step = max(1, CHUNK // columns)
        for start in range(0, rows, step):
            part = slice(start, start + step)
            values = levels(qdata[part], params.scale[part], params.codebook) * params.s_channel[part].unsqueeze(1)
            out[part] = rotated(values, params.convrot_groupsize)
        return out

    @classmethod
    def get_plain_tensors(cls, qtensor):
        params = qtensor._params
        return qtensor._qdata, params.scale, params.s_channel, None, params.codebook

    @classmethod
    def requantize_kwargs(cls, qtensor):
        """A LoRA changes the weight, not how it is rotated nor its levels."""
        params = qtensor._params
        return {"convrot_groupsize": params.convrot_groupsize, "codebook_tensor": params.codebook}

    @classmethod
    def state_dict_tensors(cls, qdata, params):
        """As core's `asym_w4a8_int8` has them."""
        return {
            "": qdata,
            "_s_rel": params.scale,
            "_s_channel": params.s_channel,
            "_codebook": params.codebook,
        }


def _check(columns: int, rotation: int) -> None:
    multiple = max(GROUP, rotation)
    if columns % multiple:
        raise ValueError(
            f"{name_of(rotation)} wants in_features to be a multiple of {multiple}, this layer has {columns}"
        )


class W4A8Format(Format):
    """A row of this file; the shapes of a weight on the meta device, whose values no codebook suits, are known too."""

    def of_whole(self, weight):
        _check(weight.shape[1], self.rotation)
        some = weight[sampled_rows(*weight.shape).to(weight.device)]
        return {"codebook_tensor": choose_codebook(some, self.rotation)}

    def encode(self, weight, **options):
        if not weight.is_meta:
            return super().encode(weight, **options)
        rows, columns = weight.shape
        shapes = {
            "codes": ((rows, columns // PER_BYTE), torch.int8),
            "scale": ((rows, columns // GROUP), torch.float8_e4m3fn),
            "s_channel": ((rows,), torch.float32),
            "codebook": ((LEVELS,), torch.float32),
        }
        return {name: torch.empty(shape, dtype=dtype, device="meta") for name, (shape, dtype) in shapes.items()}


def _format(rotation: int) -> Format:
    settings = {"group_size": GROUP, "convrot_groupsize": rotation}
    # activations are int8-convrot's; each layer gets the rotation that divides its K
    activation, others = int8_convrot.name_of(rotation), {"multiples": (1, GROUP), "rotation": rotation, "grid": GRID}
    others |= {"shared": ("codebook",)}
    return W4A8Format(
        name_of(rotation), W4A8Layout.NAME, TENSORS, activation, MARKER, NAME, settings=settings, **others
    )


FORMATS = tuple(map(_format, ROTATIONS))
