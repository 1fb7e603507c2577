"""comfy-kitchen, the kernels that ComfyUI brings: int8 on its CUDA or Triton backend, Blackwell's block formats.

Activations are quantized with the same functions as in ComfyUI's own layers, so the numbers are ComfyUI's.
"""

import comfy_kitchen
import torch

from ..core.features import multiplies_int8
from ..formats import ROTATED
from .activation import NVFP4_MAX, tensor_scale
from .adapter import library_linear, library_quantize, library_steps
from .kernel import SIXTEEN_BIT, Kernel, Requirements, Steps
from .libraries import LIBRARIES, LacksError, Library

# what `auto` takes int8_linear on; "eager" is torch, which kernels/torch_int8.py does better
BACKENDS = ("cuda", "triton")
# channels of one scale, and what rows of tokens are padded to
MXFP8_GROUP = MXFP8_ROWS = 32
NVFP4_GROUP = 16


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


def _with_int8_linear():
    """comfy_kitchen, if it is new enough to have int8_linear on any backend. Raises LacksError."""
    if not multiplies_int8():
        raise LacksError("has no int8_linear: ComfyUI 0.27 and newer bring one that has")
    return comfy_kitchen


def _library(load) -> Library:
    return Library("comfy-kitchen", ("comfy-kitchen",), ("comfy_kitchen",), load, {"": "pip install comfy-kitchen"})


KITCHEN, WITH_INT8 = _library(lambda: comfy_kitchen), _library(_with_int8_backend)
WITH_INT8_LINEAR = _library(_with_int8_linear)
LIBRARIES.update(
    {"comfy-kitchen": KITCHEN, "comfy-kitchen int8": WITH_INT8, "comfy-kitchen int8_linear": WITH_INT8_LINEAR}
)


def _int8(kitchen, x, codes, scale, bias):
    return kitchen.int8_linear(x, codes, scale.view(-1), bias, out_dtype=x.dtype)


def _convrot(op_name: str, library: Library):
    """As `library_linear`, of rotated weights."""

    @torch.library.custom_op(f"x2v_quant::{op_name}", mutates_args=())
    def op(
        x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, group: int
    ) -> torch.Tensor:
        if x.shape[0] == 0:
            return x.new_empty((0, codes.shape[0]))
        bias = None if bias is None else bias.to(x.dtype).contiguous()
        multiply = library.loaded().int8_linear
        rotation = {"convrot": True, "convrot_groupsize": group}
        return multiply(x.contiguous(), codes, scale.view(-1), bias, out_dtype=x.dtype, **rotation)

    op.register_fake(lambda x, codes, scale, bias, group: x.new_empty((x.shape[0], codes.shape[0])))
    return lambda x, codes, params, bias: op(x, codes, params.scale, bias, params.convrot_groupsize)


_convrot_gpu = _convrot("comfy_kitchen_int8_convrot_linear", WITH_INT8)
_convrot_cpu = _convrot("comfyui_int8_convrot_linear", WITH_INT8_LINEAR)


def _mxfp8(kitchen, x, codes, scale, bias):
    """codes float8_e4m3fn [N, K]; scale float8_e8m0fnu, one per 32 channels, in cuBLAS's order; rows of tokens are
    padded to 32."""
    return _mxfp8_mm(kitchen, *_quantize_mxfp8(kitchen, x), codes, scale, bias, x.dtype)[: x.shape[0]]


def _quantize_mxfp8(kitchen, x):
    return kitchen.quantize_mxfp8(x, pad_32x=True)


def _mxfp8_mm(kitchen, quantized, token_scale, codes, scale, bias, dtype):
    multiplied = _output(dtype)
    bias = None if bias is None else bias.to(multiplied)
    return kitchen.scaled_mm_mxfp8(quantized, codes, token_scale, scale, bias, multiplied).to(dtype)


def _mxfp8_like(x):
    rows, groups = -(-x.shape[0] // MXFP8_ROWS) * MXFP8_ROWS, x.shape[1] // MXFP8_GROUP
    # cuBLAS's order: tiles of 128 x 4 scales
    scale = x.new_empty((-(-rows // 128) * 128, -(-groups // 4) * 4), dtype=torch.float8_e8m0fnu)
    return x.new_empty((rows, x.shape[1]), dtype=torch.float8_e4m3fn), scale


@torch.library.custom_op("x2v_quant::comfy_kitchen_nvfp4_linear", mutates_args=())
def nvfp4_linear(
    x: torch.Tensor, codes: torch.Tensor, scale: torch.Tensor, block_scale: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """x [M, K] float, codes uint8 [N, K/2], scale float32 [], block_scale float8_e4m3fn, one per 16 channels, in
    cuBLAS's order, bias [N] -> [M, N] in x.dtype. K is a multiple of 32, N of 16; rows of tokens are padded to 16."""
    if x.shape[0] == 0:
        return x.new_empty((0, codes.shape[0]))
    return _nvfp4_product(*_quantize_nvfp4(x), x.shape[0], x.dtype, codes, scale, block_scale, bias)


def _quantize_nvfp4(x):
    token_scale = tensor_scale(x, NVFP4_MAX)
    return *comfy_kitchen.quantize_nvfp4(x.contiguous(), token_scale, pad_16x=True), token_scale


def _nvfp4_product(quantized, token_block_scale, token_scale, rows, dtype, codes, scale, block_scale, bias):
    multiplied = _output(dtype)
    bias = None if bias is None else bias.to(multiplied)
    y = comfy_kitchen.scaled_mm_nvfp4(
        quantized, codes, token_scale, scale, token_block_scale, block_scale, bias, multiplied
    )
    return y[:rows].to(dtype)


@nvfp4_linear.register_fake
def _(x, codes, scale, block_scale, bias):
    return x.new_empty((x.shape[0], codes.shape[0]))


@torch.library.custom_op("x2v_quant::comfy_kitchen_nvfp4_quantize", mutates_args=())
def nvfp4_quantize(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x [M, K] float (M > 0) -> codes uint8 [M', K/2], their scales of 16 channels in cuBLAS's order, and of all."""
    return _quantize_nvfp4(x)


@nvfp4_quantize.register_fake
def _(x):
    rows, groups = -(-x.shape[0] // NVFP4_GROUP) * NVFP4_GROUP, x.shape[1] // NVFP4_GROUP
    scale = x.new_empty((-(-rows // 128) * 128, -(-groups // 4) * 4), dtype=torch.float8_e4m3fn)
    return x.new_empty((rows, x.shape[1] // 2), dtype=torch.uint8), scale, x.new_empty((), dtype=torch.float32)


@torch.library.custom_op("x2v_quant::comfy_kitchen_nvfp4_multiply", mutates_args=())
def nvfp4_multiply(
    quantized: torch.Tensor,
    token_block_scale: torch.Tensor,
    token_scale: torch.Tensor,
    rows: int,
    dtype: torch.dtype,
    codes: torch.Tensor,
    scale: torch.Tensor,
    block_scale: torch.Tensor,
    bias: torch.Tensor | None,
) -> torch.Tensor:
    """`nvfp4_linear` of what `nvfp4_quantize` gave."""
    return _nvfp4_product(quantized, token_block_scale, token_scale, rows, dtype, codes, scale, block_scale, bias)


@nvfp4_multiply.register_fake
def _(quantized, token_block_scale, token_scale, rows, dtype, codes, *_):
    return codes.new_empty((rows, codes.shape[0]), dtype=dtype)


def _output(dtype: torch.dtype) -> torch.dtype:
    return dtype if dtype in SIXTEEN_BIT else torch.bfloat16


def _nvfp4(x, codes, params, bias):
    return torch.ops.x2v_quant.comfy_kitchen_nvfp4_linear(x, codes, params.scale, params.block_scale, bias)


def _nvfp4_multiply(given, rows, dtype, codes, params, bias):
    return torch.ops.x2v_quant.comfy_kitchen_nvfp4_multiply(
        *given, rows, dtype, codes, params.scale, params.block_scale, bias
    )


def _row(format_name, linear, activation, summary, capability, library, n_multiple, k_multiple, steps=None) -> Kernel:
    requires = Requirements(
        "cuda",
        nvidia=True,
        min_capability=capability,
        library=library,
        n_multiple=n_multiple,
        k_multiple=k_multiple,
    )
    return Kernel("comfy-kitchen", (format_name,), linear, activation, summary, requires, steps=steps)


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
        library_linear("comfyui_int8_linear", WITH_INT8_LINEAR, _int8),
        "int8",
        "int8 weights x int8 activations (per-token), bit for bit what ComfyUI's own layers compute on a CPU, slow",
        Requirements(kind="cpu", library="comfy-kitchen int8_linear", dtypes=(torch.float32,)),
    ),
    *(
        _row(
            name,
            _convrot_gpu,
            name,
            "int8 weights x int8 activations (per-token), rotated, fused scales and bias, ComfyUI's kernels",
            (7, 5),
            "comfy-kitchen int8",
            16,
            16,
        )
        for name in ROTATED.values()
    ),
    *(
        Kernel(
            "comfyui",
            (name,),
            _convrot_cpu,
            name,
            "int8 weights x int8 activations (per-token), rotated, bit for bit what ComfyUI's own layers compute on a "
            "CPU, slow",
            Requirements(kind="cpu", library="comfy-kitchen int8_linear", dtypes=(torch.float32,)),
        )
        for name in ROTATED.values()
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
        library_steps(
            "comfy_kitchen_mxfp8_multiply",
            KITCHEN,
            library_quantize("comfy_kitchen_mxfp8_quantize", KITCHEN, _quantize_mxfp8, _mxfp8_like),
            _mxfp8_mm,
        ),
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
        Steps(lambda x, params: torch.ops.x2v_quant.comfy_kitchen_nvfp4_quantize(x), _nvfp4_multiply),
    ),
)
