"""Per-token dynamic quantization of activations: one scale per row, x = q * scale.

Formulas as in vLLM and LightX2V: scale = max|x| / 127 or / 448; rounding is half to even; an all-zero row keeps zero
codes (its scale is the floor below, never 0/0).
"""

import torch

INT8_MAX = 127.0
FP8_MAX = 448.0
# far below any activation, far above the smallest normal float32, so that its reciprocal stays finite
MIN_SCALE = 1e-30
# float32 values of one pass. CPU: they stay in cache, and passes are few because each costs the threads a meeting.
# GPU: 128 MB, a fraction of what the float32 copy of a long video's tokens would take.
CPU_VALUES, GPU_VALUES = 1 << 21, 1 << 25


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
    step = max(1, (CPU_VALUES if x.device.type == "cpu" else GPU_VALUES) // max(width, 1))
    buffer = torch.empty((min(step, rows), width), dtype=torch.float32, device=x.device)
    for start in range(0, rows, step):
        part = x[start : start + step]
        stop = start + part.shape[0]
        # two reads without the copy that abs() would make
        amax = torch.maximum(part.amax(dim=-1, keepdim=True), -part.amin(dim=-1, keepdim=True))
        torch.div(amax.to(torch.float32), largest, out=scale[start:stop]).clamp_(min=MIN_SCALE)
        # at most `largest` up to one float32 rounding, which both code types round back to it
        values = torch.div(part, scale[start:stop], out=buffer[: part.shape[0]])
        codes[start:stop] = values.round_() if dtype is torch.int8 else values
    return codes, scale


def _through(quantize):
    def simulate(x, tensors):
        codes, scale = quantize(x)
        return codes.to(torch.float32) * scale

    return simulate


# what a kernel's activations become: (x float32 [M, K], the weight's tensors by name) -> x as it is multiplied, float32
SIMULATED = {
    "float": lambda x, tensors: x,
    "int8": _through(quantize_int8),
    "fp8": _through(quantize_fp8),
}
