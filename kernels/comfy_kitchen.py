"""comfy-kitchen, the kernels that ComfyUI brings: int8 on its CUDA or Triton backend, Blackwell's block formats.

Activations are quantized with the same functions as in ComfyUI's own layers, so the numbers are ComfyUI's.
"""

import comfy_kitchen
import torch

from .activation import NVFP4_MAX, tensor_scale
from .adapter import library_linear
from .kernel import SIXTEEN_BIT, Kernel, Requirements
from .libraries import LIBRARIES, LacksError, Library

# what `auto` takes int8_linear on; "eager" is torch, which kernels/torch_int8.py does better
BACKENDS = ("cuda", "triton")


def _with_int8_backend():
    """comfy_kitchen, if a backend of its own computes int8_linear. Raises LacksError with each backend's reason."""
    states = comfy_kitchen.list_backends()
    reasons = {name: _why_not(states.get(name)) for name in BACKENDS}
    if all(reasons.values()):
        words = ", ".join(f"{name} backend {reason}" for name, reason in reasons.items())
        raise LacksError(f"brings no int8 kernel here: {words}")
    return comfy_kitchen


def _why_not(state: dict | None) -> str | None:
    if state is None:
        return "is not part of this version"
    if not state["available"]:
        return f"unavailable ({state['unavailable_reason']})"
    if state["disabled"]:
        return "switched off by ComfyUI"
    return None if "int8_linear" in state["capabilities"] else "has no int8_linear"


def _library(load) -> Library:
    return Library("comfy-kitchen", ("comfy-kitchen",), ("comfy_kitchen",), load, {"": "pip install comfy-kitchen"})


KITCHEN, WITH_INT8 = _library(lambda: comfy_kitchen), _library(_with_int8_backend)
LIBRARIES.update({"comfy-kitchen": KITCHEN, "comfy-kitchen int8": WITH_INT8})


def _int8(kitchen, x, codes, scale, bias):
    return kitchen.int8_linear(x, codes, scale.view(-1), bias, out_dtype=x.dtype)


def _mxfp8(kitchen, x, codes, scale, bias):
    """codes float8_e4m3fn [N, K]; scale float8_e8m0fnu, one per 32 channels, in cuBLAS's order; rows of tokens are
    padded to 32."""
    dtype = _output(x)
    quantized, token_scale = kitchen.quantize_mxfp8(x, pad_32x=True)
    bias = None if bias is None else bias.to(dtype)
    y = kitchen.scaled_mm_mxfp8(quantized, codes, token_scale, scale, bias, dtype)
    return y[: x.shape[0]].to(x.dtype)


@torch.library.custom_op("x2v_quant::comfy_kitchen_nvfp4_linear", mutates_args=())
def nvfp4_linear(
    x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, block_scale: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """x [M, K] float, codes uint8 [N, K/2], scale float32 [], block_scale float8_e4m3fn, one per 16 channels, in
    cuBLAS's order, bias [N] -> [M, N] in x.dtype. K is a multiple of 32, N of 16; rows of tokens are padded to 16."""
    if x.shape[0] == 0:
        return x.new_empty((0, codes.shape[0]))
    dtype = _output(x)
    token_scale = tensor_scale(x, NVFP4_MAX)
    quantized, token_block_scale = comfy_kitchen.quantize_nvfp4(x.contiguous(), token_scale, pad_16x=True)
    bias = None if bias is None else bias.to(dtype)
    y = comfy_kitchen.scaled_mm_nvfp4(quantized, codes, token_scale, scale, token_block_scale, block_scale, bias, dtype)
    return y[: x.shape[0]].to(x.dtype)


@nvfp4_linear.register_fake
def _(x, codes, scale, block_scale, bias):
    return x.new_empty((x.shape[0], codes.shape[0]))


def _output(x: torch.Tensor) -> torch.dtype:
    return x.dtype if x.dtype in SIXTEEN_BIT else torch.bfloat16


def _nvfp4(x, codes, params, bias):
    return torch.ops.x2v_quant.comfy_kitchen_nvfp4_linear(x, codes, params.scale, params.block_scale, bias)


def _row(format_name, linear, activation, summary, capability, library, n_multiple, k_multiple) -> Kernel:
    requires = Requirements(
        "cuda",
        nvidia=True,
        min_capability=capability,
        library=library,
        n_multiple=n_multiple,
        k_multiple=k_multiple,
    )
    return Kernel("comfy-kitchen", (format_name,), linear, activation, summary, requires)


ROWS = (
    _row(
        "int8-channel",
        library_linear("comfy_kitchen_int8_linear", WITH_INT8, _int8),
        "int8",
        "int8 weights x int8 activations (per-token), fused scales and bias, ComfyUI's kernels",
        (7, 5),
        "comfy-kitchen int8",
        16,
        16,
    ),
    # only by name, no row of order.py has it; in 16 bits the eager backend rounds x / scale once more
    Kernel(
        "comfyui",
        ("int8-channel",),
        library_linear("comfyui_int8_linear", KITCHEN, _int8),
        "int8",
        "int8 weights x int8 activations (per-token), bit for bit what ComfyUI's own layers compute on a CPU, slow",
        Requirements(kind="cpu", library="comfy-kitchen", dtypes=(torch.float32,)),
    ),
    _row(
        "mxfp8",
        library_linear("comfy_kitchen_mxfp8_linear", KITCHEN, _mxfp8),
        "mxfp8",
        "mxfp8 weights x mxfp8 activations (scales of 32 channels), ComfyUI's kernels",
        (10, 0),
        "comfy-kitchen",
        32,
        32,
    ),
    _row(
        "nvfp4",
        _nvfp4,
        "nvfp4",
        "nvfp4 weights x nvfp4 activations (scales of 16 channels), ComfyUI's kernels",
        (10, 0),
        "comfy-kitchen",
        16,
        32,
    ),
)
