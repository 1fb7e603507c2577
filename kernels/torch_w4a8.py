"""w4a8 by torch's int8 matmul: the 4-bit codes of some rows at a time become int8 ones, which are multiplied."""

from types import SimpleNamespace

import torch

from ..formats import ROTATIONS, w4a8
from ..formats.w4a8_codes import levels
from .declare import declare
from .quantizers import rotated_tokens
from .torch_int8 import ROW_MULTIPLES, int8_mm

# int8 weights that are spread out at a time. CPU: not far from its cache. GPU: 32 MB, little beside a model and enough
# for a product to be worth its launch.
CPU_WEIGHTS, GPU_WEIGHTS = 1 << 22, 1 << 25
# torch._int_mm of CUDA wants a multiple of it
GPU_ROWS = 8


def w4a8_mm(quantized, weight, bias, dtype):
    """As int8_mm, for the levels of w4a8."""
    codes, _ = quantized
    rows, (columns, width) = codes.shape[0], weight.shape
    out = torch.empty((rows, columns), dtype=dtype, device=codes.device)
    spread_out = CPU_WEIGHTS if codes.device.type == "cpu" else GPU_WEIGHTS
    step = max(1, spread_out // width // GPU_ROWS) * GPU_ROWS
    for start in range(0, columns, step):
        part = slice(start, start + step)
        spread = levels(weight.codes[part], weight.scale[part], weight.codebook)
        some = SimpleNamespace(codes=spread, scale=weight.s_channel[part], shape=tuple(spread.shape))
        int8_mm(quantized, some, None if bias is None else bias[part], dtype, out[:, part])
    return out


_SUMMARY = "4-bit weights spread out to int8 x int8 activations (per-token), rotated, torch._int_mm"

ROWS = tuple(
    kernel
    for requires, rows in ROW_MULTIPLES
    for rotation, name in ROTATIONS[w4a8.NAME].items()
    for kernel in declare("torch", name, _SUMMARY, requires, quantizer=rotated_tokens(rotation, rows), product=w4a8_mm)
)
