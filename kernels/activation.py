"""Quantization of activations: per token, per token and 128 channels, with a static scale, and core's block formats.

Formulas as in vLLM and LightX2V: scale = max|x| / 127 or / 448; rounding is half to even; an all-zero row keeps zero
codes (its scale is the floor below, never 0/0). A pre_quant_scale float32 [K] multiplies x before anything else, in
float32.
"""

import torch
from comfy_kitchen.tensor import QuantizedTensor

from ..formats import convrot_w4a4
from ..formats.block_scaled import NVFP4_MAX
from ..formats.fp8_block128 import BLOCK
from ..formats.int8_convrot import GROUPS, name_of, rotated, rotated_in_steps
from ..formats.mx import Mxfp4Layout
from ..formats.scaled import grouped
from ..formats.smooth import END

INT8_MAX = 127.0
INT4_MAX = 7.0
FP8_MAX = 448.0
# with weight codes up to 28 (formats/fp8_reduced.py), 64 products stay within float16
FP8_REDUCED_MAX = 32.0
# far below any activation, far above the smallest normal float32, so that its reciprocal stays finite
MIN_SCALE = 1e-30
# float32 values of one pass. CPU: for each thread, few enough to stay in cache, and no fewer, because each pass costs
# the threads a meeting. GPU: 128 MB, a fraction of what the float32 copy of a long video's tokens would take.
CPU_VALUES, GPU_VALUES = 1 << 20, 1 << 25


def quantize_int8(
    x: torch.Tensor, pad_rows: int = 1, pre_quant_scale: torch.Tensor | None = None, rotation: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] float -> codes int8 [M', K] and scale float32 [M', 1]; M' is M rounded up to a multiple of pad_rows,
    the rows beyond M are zero. rotation: channels of a group that is rotated, behind pre_quant_scale; 0 for none."""
    return _quantize(x, torch.int8, INT8_MAX, pad_rows, pre_quant_scale=pre_quant_scale, rotation=rotation)


def quantize_int4(x: torch.Tensor, pad_rows: int = 1, rotation: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """As `quantize_int8`, codes of -7 ... 7."""
    return _quantize(x, torch.int8, INT4_MAX, pad_rows, rotation=rotation)


def quantize_fp8(
    x: torch.Tensor, pad_rows: int = 1, pre_quant_scale: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] float -> codes float8_e4m3fn [M', K] and scale float32 [M', 1]; M' as in `quantize_int8`."""
    return _quantize(x, torch.float8_e4m3fn, FP8_MAX, pad_rows, pre_quant_scale=pre_quant_scale)


def quantize_fp8_reduced(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] float -> codes float8_e4m3fn [M, K] of at most 32 and scale float32 [M, 1]."""
    return _quantize(x, torch.float8_e4m3fn, FP8_REDUCED_MAX)


def quantize_fp8_group128(x: torch.Tensor, pad_rows: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] float -> codes float8_e4m3fn [M', K] and scale float32 [M', ceil(K / 128)], one per token and 128
    channels; M' as in quantize_int8."""
    return _quantize(x, torch.float8_e4m3fn, FP8_MAX, pad_rows, BLOCK)


def quantize_fp8_static(x: torch.Tensor, input_scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] float -> codes float8_e4m3fn [M, K], clamped to +-448, and scale float32 [1]: input_scale, or
    max|x| / 448 of the whole x where that is empty."""
    scale = input_scale if input_scale.numel() else tensor_scale(x, FP8_MAX).view(1)
    codes = torch.empty(x.shape, dtype=torch.float8_e4m3fn, device=x.device)
    for part, target in zip(x.split(_step(x)), codes.split(_step(x)), strict=True):
        target.copy_(torch.div(part, scale).clamp_(-FP8_MAX, FP8_MAX))
    return codes, scale


def _quantize(x, dtype, largest, pad_rows=1, group=None, pre_quant_scale=None, rotation=0):
    rows, width = x.shape
    group = group or width
    padded = -(-rows // pad_rows) * pad_rows
    codes = torch.empty((padded, width), dtype=dtype, device=x.device)
    scale = torch.empty((padded, -(-width // group)), dtype=torch.float32, device=x.device)
    if padded > rows:
        codes[rows:] = 0
        scale[rows:] = 0
    step, on_cpu = _step(x), x.device.type == "cpu"
    buffer = torch.empty((min(step, rows), scale.shape[1], group), dtype=torch.float32, device=x.device)
    for start in range(0, rows, step):
        part = x[start : start + step]
        part = grouped(part, group)
        stop = start + part.shape[0]
        if pre_quant_scale is not None:
            part = torch.mul(part, pre_quant_scale, out=buffer[: part.shape[0]])
        elif on_cpu and part.dtype != torch.float32:
            # a CPU reduces and divides float32 twice as fast
            part = buffer[: part.shape[0]].copy_(part)
        if rotation:
            part = rotated_in_steps(part.flatten(1).to(torch.float32), rotation).unsqueeze(1)
        # two reads without the copy that abs() would make
        amax = torch.maximum(part.amax(dim=-1), -part.amin(dim=-1))
        torch.div(amax.to(torch.float32), largest, out=scale[start:stop]).clamp_(min=MIN_SCALE)
        # at most `largest` up to one float32 rounding, which both code types round back to it
        values = torch.div(part, scale[start:stop, :, None], out=buffer[: part.shape[0]])
        codes[start:stop] = (values.round_() if dtype is torch.int8 else values).flatten(1)[:, :width]
    return codes, scale


def _step(x: torch.Tensor) -> int:
    """Rows of one pass."""
    values = CPU_VALUES * torch.get_num_threads() if x.device.type == "cpu" else GPU_VALUES
    return max(1, values // max(x.shape[1], 1))


def tensor_scale(x: torch.Tensor, largest: float) -> torch.Tensor:
    """max|x| / largest of a whole x, float32 []."""
    if x.numel() == 0:
        return x.new_ones((), dtype=torch.float32)
    return torch.maximum(x.amax(), -x.amin()).to(torch.float32).div_(largest).clamp_(min=MIN_SCALE)


def _through(quantize):
    def simulate(x, tensors):
        codes, scale = quantize(x)
        return codes.to(torch.float32) * scale

    return simulate


def _smooth(simulate):
    """What is multiplied with weight / pre_quant_scale, in terms of the weight itself."""

    def simulate_smooth(x, tensors):
        factor = tensors["pre_quant_scale"]
        return simulate(x * factor, tensors).div_(factor)

    return simulate_smooth


def _rotated(group, quantize=quantize_int8):
    """What is multiplied with the rotated weight, in terms of the weight itself."""

    def simulate(x, tensors):
        codes, scale = quantize(x, rotation=group)
        return rotated(codes.to(torch.float32) * scale, group)

    return simulate


def _static(x, tensors):
    codes, scale = quantize_fp8_static(x, tensors["input_scale"])
    return codes.to(torch.float32) * scale


def _group128(x, tensors):
    codes, scale = quantize_fp8_group128(x)
    return codes.to(torch.float32) * scale.repeat_interleave(BLOCK, dim=1)[:, : x.shape[1]]


def _mxfp8(x, tensors):
    return QuantizedTensor.from_float(x, "TensorCoreMXFP8Layout").dequantize()


def _mxfp4(x, tensors):
    return QuantizedTensor.from_float(x, Mxfp4Layout.NAME).dequantize()


def _nvfp4(x, tensors):
    if x.shape[0] == 0:
        return x
    # as core, but for the floor of the scale: zeros give core NaN
    return QuantizedTensor.from_float(x, "TensorCoreNVFP4Layout", scale=tensor_scale(x, NVFP4_MAX)).dequantize()


# what a kernel's activations become: (x float32 [M, K], the weight's tensors by name) -> x as it is multiplied, float32
SIMULATED = {
    "float": lambda x, tensors: x,
    "int8": _through(quantize_int8),
    "fp8": _through(quantize_fp8),
    "fp8-reduced": _through(quantize_fp8_reduced),
    "fp8-group128": _group128,
    "fp8-static": _static,
    "mxfp8": _mxfp8,
    "mxfp4": _mxfp4,
    "nvfp4": _nvfp4,
}
for _group in GROUPS:
    SIMULATED[name_of(_group)] = _rotated(_group)
for _group in convrot_w4a4.GROUPS:
    SIMULATED[convrot_w4a4.activation_of(_group, "int4")] = _rotated(_group, quantize_int4)
    SIMULATED[convrot_w4a4.activation_of(_group, "int8")] = _rotated(_group)
for _name in ("int8", "fp8", "fp8-reduced", *map(name_of, GROUPS)):
    SIMULATED[f"{_name}{END}"] = _smooth(SIMULATED[_name])
