"""Per-token dynamic quantization of activations: one scale per row, x = q * scale.

Formulas as in vLLM and LightX2V: scale = max|x| / 127 or / 448; rounding is half to even; an all-zero row keeps zero
codes (its scale is the floor below, never 0/0).
"""

import torch

INT8_MAX = 127.0
FP8_MAX = 448.0
# far below any activation, far above the smallest normal float32, so that its reciprocal stays finite
MIN_SCALE = 1e-30
# rows per pass: the float32 copy of a chunk stays in a CPU's cache
CHUNK_ROWS = 512


def quantize_int8(x: torch.Tensor, pad_rows: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] float -> codes int8 [M', K] and scale float32 [M', 1]; M' is M rounded up to a multiple of pad_rows,
    the rows beyond M are zero."""
    return _quantize(x, torch.int8, INT8_MAX, pad_rows)


def quantize_fp8(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] float -> codes float8_e4m3fn [M, K] and scale float32 [M, 1]."""
    return _quantize(x, torch.float8_e4m3fn, FP8_MAX, 1)


def _quantize(x, dtype, largest, pad_rows):
    rows, width = x.shape
    padded = -(-rows // pad_rows) * pad_rows
    codes = torch.empty((padded, width), dtype=dtype, device=x.device)
    scale = torch.empty((padded, 1), dtype=torch.float32, device=x.device)
    if padded > rows:
        codes[rows:] = 0
        scale[rows:] = 0
    step = CHUNK_ROWS if x.device.type == "cpu" else max(rows, 1)
    for start in range(0, rows, step):
        part = x[start : start + step]
        stop = start + part.shape[0]
        amax = part.abs().amax(dim=-1, keepdim=True).to(torch.float32)
        torch.clamp(amax / largest, min=MIN_SCALE, out=scale[start:stop])
        values = part.to(torch.float32) / scale[start:stop]
        if dtype is torch.int8:
            values.round_()
        codes[start:stop] = values.clamp_(-largest, largest)
    return codes, scale
