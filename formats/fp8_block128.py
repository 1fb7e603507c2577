"""One scale per block of 128 x 128: fp8-block128, float8 e4m3fn codes (DeepSeek's and DeepGEMM's weights).

Blocks at the edges may be smaller; scale[i, j] belongs to rows 128 i ... and columns 128 j ...
"""

import torch

from .format import SCALED, Format
from .grid import Grid, e4m3
from .layout import ScaledLayout, fresh, register, scale_for
from .rounding import to_codes
from .scaled import grouped, scaled, ungrouped

BLOCK = 128


@register
class Fp8Block128Layout(ScaledLayout):
    NAME = "X2VFp8Block128"
    CODES = torch.float8_e4m3fn
    MAX = 448.0

    @classmethod
    def quantize(cls, tensor, scale=None, stochastic_rounding=None, inplace_ops=False, **_):
        """[N, K] float weight -> (codes [N, K], Params with scale [ceil(N / 128), ceil(K / 128)]), in float32.

        scale: None or "recalculate" takes each block's absolute maximum / MAX; a tensor of that shape, or one value,
        is used as it is. stochastic_rounding: a seed above 0 rounds up or down in proportion to the distance.
        """
        rows, columns = tensor.shape
        values = grouped(tensor.to(torch.float32, copy=not inplace_ops), BLOCK)
        if fresh(scale):
            per_row = values.abs().amax(dim=2)
            scale = scale_for(grouped(per_row.t(), BLOCK).amax(dim=2).t().contiguous(), cls.MAX)
        scale = torch.as_tensor(scale, dtype=torch.float32, device=values.device)
        scale = scale.expand(-(-rows // BLOCK), values.shape[1]).contiguous()
        codes = to_codes(values.div_(_per_row(scale, rows)), cls.CODES, cls.MAX, stochastic_rounding)
        params = cls.Params(scale=scale, orig_dtype=tensor.dtype, orig_shape=(rows, columns))
        return ungrouped(codes, columns), params

    @classmethod
    def dequantize(cls, qdata, params):
        """codes.float() * the block's scale, rounded once to params.orig_dtype."""
        rows, columns = params.orig_shape
        return ungrouped(scaled(grouped(qdata, BLOCK), _per_row(params.scale, rows), params.orig_dtype), columns)


def _per_row(scale: torch.Tensor, rows: int) -> torch.Tensor:
    """[blocks of rows, blocks of columns] -> [rows, blocks of columns, 1]."""
    return scale.repeat_interleave(BLOCK, dim=0)[:rows].unsqueeze(2)


def _tensors(codes, scale, whole):
    return {"codes": codes.to(Fp8Block128Layout.CODES), "scale": scale}


NAME = "fp8-block128"
GRID = Grid(BLOCK, BLOCK, Fp8Block128Layout.MAX, e4m3, _tensors)
FORMATS = (Format(NAME, Fp8Block128Layout.NAME, SCALED, "fp8-group128", NAME, NAME, grid=GRID),)
