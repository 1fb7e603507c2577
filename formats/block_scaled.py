"""mxfp8 and nvfp4, as core stores them: a scale per 32 or 16 input channels in the tensor cores' order."""

import torch
from comfy_kitchen.float_utils import F4_E2M1_MAX, F8_E4M3_MAX, to_blocked

from .core_layout import of_core
from .format import SCALED, Format
from .grid import Grid, e2m1, e4m3
from .layout import scale_for

NVFP4 = (*SCALED, "block_scale")
MX_BLOCK, NV_BLOCK = 32, 16
NVFP4_MAX = F8_E4M3_MAX * F4_E2M1_MAX
# the smallest positive e4m3 number
SMALLEST_E4M3 = 2.0**-9
# of the scale that clips nothing
NV_FACTORS = tuple(1 - 0.05 * step for step in range(9))


def _power_of_two(scale: torch.Tensor, whole: torch.Tensor | None) -> torch.Tensor:
    """scale: largest |value| / 448 -> the power of two that comfy_kitchen gives a block."""
    return torch.exp2(torch.ceil(torch.log2(scale)).clamp_(-127, 127))


def _mxfp8(codes, scale, whole):
    exponents = (torch.log2(scale) + 127).to(torch.uint8)
    blocked = to_blocked(exponents, flatten=False).view(torch.float8_e8m0fnu)
    return {"codes": codes.to(torch.float8_e4m3fn), "scale": blocked}


def _times_whole(scale: torch.Tensor, whole: torch.Tensor | None) -> torch.Tensor:
    """e4m3 numbers times the weight's scale; never zero, which nothing could be divided by."""
    return e4m3((scale / whole).clamp_(SMALLEST_E4M3, F8_E4M3_MAX)) * whole


def _nvfp4(codes, scale, whole):
    blocked = to_blocked((scale / whole).to(torch.float8_e4m3fn), flatten=False)
    return {"codes": _packed(codes), "scale": whole, "block_scale": blocked}


def _packed(codes: torch.Tensor) -> torch.Tensor:
    """e2m1 values [N, K] -> uint8 [N, K / 2], that of an even column in the high nibble."""
    size = codes.abs()
    # 0, 0.5, 1, 1.5, 2, 3, 4, 6 are codes 0 to 7
    index = torch.where(size <= 2, size * 2, torch.where(size < 6, size + 2, torch.full_like(size, 7))).to(torch.uint8)
    nibbles = index | (torch.signbit(codes).to(torch.uint8) << 3)
    return (nibbles[:, 0::2] << 4) | nibbles[:, 1::2]


MX_GRID = Grid(1, MX_BLOCK, F8_E4M3_MAX, e4m3, _mxfp8, _power_of_two)
NV_GRID = Grid(
    1, NV_BLOCK, F4_E2M1_MAX, e2m1, _nvfp4, _times_whole, lambda amax: scale_for(amax, NVFP4_MAX), NV_FACTORS
)
_MXFP8 = of_core("X2VMxfp8", "TensorCoreMXFP8Layout")
_NVFP4 = of_core("X2VNvfp4", "TensorCoreNVFP4Layout")
# other sizes are padded, and a file does not say how far: it would not be read back as the layer it was
FORMATS = (
    Format("mxfp8", _MXFP8.NAME, SCALED, "mxfp8", "mxfp8", "mxfp8", multiples=(32, 32), grid=MX_GRID),
    Format(
        "nvfp4",
        _NVFP4.NAME,
        NVFP4,
        "nvfp4",
        "nvfp4",
        "nvfp4",
        multiples=(16, 16),
        grid=NV_GRID,
        shared=("scale",),
    ),
)
