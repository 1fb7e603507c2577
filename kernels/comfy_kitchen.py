"""comfy-kitchen, the kernels that ComfyUI brings: int8 on its CUDA or Triton backend, Blackwell's block formats.

Activations are quantized with the same functions as in ComfyUI's own layers, so the numbers are ComfyUI's.
"""

from collections.abc import Iterator
from functools import partial

import comfy_kitchen
import torch

from ..core.features import has_w4a8, multiplies_int8
from ..formats import FORMATS, ROTATED, ROTATIONS, w4a8
from .activation import NVFP4_MAX, tensor_scale
from .declare import Quantizer, declare
from .kernel import SIXTEEN_BIT, Kernel, Requirements
from .libraries import LIBRARIES, LacksError, Library
from .machine import Machine
from .ops import mxfp8_like, nvfp4_like

# what `auto` takes int8_linear on; "eager" is torch, which kernels/torch_int8.py does better
BACKENDS = ("cuda", "triton")
# format -> what int8_linear takes for it beside x, the weight and the bias
INT8_OPTIONS = {
    "int8-channel": {},
    **{name: {"convrot": True, "convrot_groupsize": group} for group, name in ROTATED.items()},
}


def _with_int8_backend():
    """comfy_kitchen, if a backend of its own computes int8_linear. Raises LacksError with each backend's reason."""
    return _with_backend("int8_linear", "int8")


def _with_w4a8_backend():
    """comfy_kitchen, if it is new enough to have w4a8_int8_linear, on a backend of its own. Raises LacksError."""
    if not has_w4a8():
        raise LacksError("has no w4a8_int8_linear: ComfyUI 0.31 and newer bring one that has")
    return _with_backend("w4a8_int8_linear", "w4a8")


def _with_backend(operator: str, words: str):
    states = comfy_kitchen.list_backends()
    reasons = {name: _why_not(states.get(name), operator) for name in BACKENDS}
    if all(reasons.values()):
        told = ", ".join(f"{name} backend {reason}" for name, reason in reasons.items())
        raise LacksError(f"brings no {words} kernel here: {told}")
    return comfy_kitchen


def _why_not(state: dict | None, operator: str) -> str | None:
    if state is None:
        return "is not part of this version"
    if not state["available"]:
        return f"unavailable ({state['unavailable_reason']})"
    if state["disabled"]:
        return "switched off by ComfyUI"
    return None if operator in state["capabilities"] else f"has no {operator}"


def _with_int8_linear():
    """comfy_kitchen, if it is new enough to have int8_linear on any backend. Raises LacksError."""
    if not multiplies_int8():
        raise LacksError("has no int8_linear: ComfyUI 0.27 and newer bring one that has")
    return comfy_kitchen


class Imported(Library):
    """What ComfyUI has imported already, so that asking it costs nothing."""

    def expected(self, machine: Machine) -> bool:
        return self.problem(machine) is None


def _library(load) -> Library:
    return Imported("comfy-kitchen", ("comfy-kitchen",), ("comfy_kitchen",), load, {"": "pip install comfy-kitchen"})


KITCHEN, WITH_INT8 = _library(lambda: comfy_kitchen), _library(_with_int8_backend)
WITH_INT8_LINEAR, WITH_W4A8 = _library(_with_int8_linear), _library(_with_w4a8_backend)


def library_with(operator: str) -> Library:
    """comfy-kitchen where it brings `operator` for the GPU."""
    return _library(partial(_with_backend, operator, operator.partition("_")[0]))


LIBRARIES.update(
    {
        "comfy-kitchen": KITCHEN,
        "comfy-kitchen int8": WITH_INT8,
        "comfy-kitchen int8_linear": WITH_INT8_LINEAR,
        "comfy-kitchen w4a8": WITH_W4A8,
    }
)


def int8(x, weight, bias, **rotation):
    """Quantizes and multiplies; K and N multiples of 16 on a GPU."""
    return comfy_kitchen.int8_linear(x, weight.codes, weight.scale.view(-1), bias, out_dtype=x.dtype, **rotation)


def four_bits(x, weight, bias, rotation):
    """Rotates, quantizes and multiplies; the tensors are those of w4a8."""
    return comfy_kitchen.w4a8_int8_linear(
        x,
        weight.codes,
        weight.scale,
        weight.s_channel,
        codebook=weight.codebook,
        bias=bias,
        group_size=w4a8.GROUP,
        convrot_groupsize=rotation,
        out_dtype=x.dtype,
    )


def quantize_mxfp8(x):
    """As `mxfp8_like`."""
    return comfy_kitchen.quantize_mxfp8(x, pad_32x=True)


def mxfp8_mm(quantized, weight, bias, dtype):
    """codes float8_e4m3fn [N, K]; scale float8_e8m0fnu, one per 32 channels, in cuBLAS's order."""
    codes, token_scale = quantized
    multiplied = _output(dtype)
    bias = None if bias is None else bias.to(multiplied)
    return comfy_kitchen.scaled_mm_mxfp8(codes, weight.codes, token_scale, weight.scale, bias, multiplied).to(dtype)


def quantize_nvfp4(x):
    """As `nvfp4_like`."""
    scale = tensor_scale(x, NVFP4_MAX)
    return *comfy_kitchen.quantize_nvfp4(x, scale, pad_16x=True), scale


def nvfp4_mm(quantized, weight, bias, dtype):
    """codes uint8 [N, K / 2], scale float32 [], block_scale float8_e4m3fn, one per 16 channels, in cuBLAS's order; K a
    multiple of 32, N of 16."""
    codes, token_block_scale, token_scale = quantized
    multiplied = _output(dtype)
    bias = None if bias is None else bias.to(multiplied)
    return comfy_kitchen.scaled_mm_nvfp4(
        codes, weight.codes, token_scale, weight.scale, token_block_scale, weight.block_scale, bias, multiplied
    ).to(dtype)


def _output(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype in SIXTEEN_BIT else torch.bfloat16


def _gpu(capability: tuple[int, int], library: str, n_multiple: int, k_multiple: int) -> Requirements:
    return Requirements(
        "cuda",
        nvidia=True,
        min_capability=capability,
        library=library,
        n_multiple=n_multiple,
        k_multiple=k_multiple,
    )


def _int8_rows(name: str, how: str, requires: Requirements, for_tests: bool = False) -> Iterator[Kernel]:
    for format_name, rotation in INT8_OPTIONS.items():
        yield from declare(
            name,
            format_name,
            f"int8 weights x int8 activations (per-token), {'rotated, ' if rotation else ''}{how}",
            requires,
            fused=partial(int8, **rotation),
            activation=FORMATS[format_name].activation,
            bias_like_x=True,
            for_tests=for_tests,
        )


ROWS = (
    *_int8_rows(
        "comfy-kitchen", "fused scales and bias, ComfyUI's kernels", _gpu((7, 5), "comfy-kitchen int8", 16, 16)
    ),
    # only by name, no row of order.py has it; in 16 bits the eager backend rounds x / scale once more
    *_int8_rows(
        "comfyui",
        "bit for bit what ComfyUI's own layers compute on a CPU, slow",
        Requirements(kind="cpu", library="comfy-kitchen int8_linear", dtypes=(torch.float32,)),
        for_tests=True,
    ),
    *(
        kernel
        for rotation, name in ROTATIONS[w4a8.NAME].items()
        for kernel in declare(
            "comfy-kitchen",
            name,
            "4-bit weights spread out to int8 x int8 activations (per-token), rotated, ComfyUI's kernels",
            _gpu((8, 0), "comfy-kitchen w4a8", 16, 16),
            fused=partial(four_bits, rotation=rotation),
            activation=FORMATS[name].activation,
            bias_like_x=True,
        )
    ),
    *declare(
        "comfy-kitchen",
        "mxfp8",
        "mxfp8 weights x mxfp8 activations (scales of 32 channels), ComfyUI's kernels",
        _gpu((10, 0), "comfy-kitchen", 32, 32),
        quantizer=Quantizer("mxfp8", quantize_mxfp8, mxfp8_like),
        product=mxfp8_mm,
        bias_like_x=True,
    ),
    *declare(
        "comfy-kitchen",
        "nvfp4",
        "nvfp4 weights x nvfp4 activations (scales of 16 channels), ComfyUI's kernels",
        _gpu((10, 0), "comfy-kitchen", 16, 32),
        quantizer=Quantizer("nvfp4", quantize_nvfp4, nvfp4_like),
        product=nvfp4_mm,
    ),
)
