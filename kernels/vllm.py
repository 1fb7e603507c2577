"""vLLM's compiled operators: fp8 and int8 per channel, fp8 in blocks. Its op library alone is loaded, never vllm."""

import torch

from . import shared_objects
from .activation import GROUP
from .adapter import library_linear, library_quantize, library_steps, linux_gpu
from .kernel import Kernel
from .libraries import LacksError, Library, register
from .quantizers import TOKEN_MULTIPLE, groups_like, per_token_groups_by, tokens_like


def load_ops() -> torch._ops._OpNamespace:
    """torch.ops._C with vLLM's operators in it."""
    ops = torch.ops._C
    if not hasattr(ops, "cutlass_scaled_mm"):
        # up to 0.19 all in the first, from 0.24 on all in the second, in between some in each
        shared_objects.load("vllm", "_C", "_C_stable_libtorch")
    if not hasattr(ops, "cutlass_scaled_mm"):
        raise LacksError("has no cutlass_scaled_mm: it was built for another kind of device")
    return ops


VLLM = register(
    Library(
        "vllm",
        ("vllm",),
        ("vllm",),
        load_ops,
        {"Linux": "pip install --no-deps vllm: only its op library is used; from 0.24 on it wants a torch for CUDA 13"},
        "it was built for another torch or CUDA, or there is no NVIDIA driver",
    )
)


def fp8_linear(ops, x, codes, scale, bias):
    """codes float8_e4m3fn [N, K], scale float32 [N, 1]; K and N multiples of 16."""
    return scaled_mm(ops, *quantize_fp8(ops, x), codes, scale, bias, x.dtype)


def int8_linear(ops, x, codes, scale, bias):
    """codes int8 [N, K], scale float32 [N, 1]; K and N multiples of 16."""
    return scaled_mm(ops, *quantize_int8(ops, x), codes, scale, bias, x.dtype)


def block_linear(ops, x, codes, scale, bias):
    """codes float8_e4m3fn [N, K], scale float32 [N / 128, K / 128]; the operator adds no bias to blocks."""
    return block_mm(ops, *quantize_blocks(ops, x), codes, scale, bias, x.dtype)[: x.shape[0]]


def quantize_fp8(ops, x):
    quantized, token_scale = tokens_like(x, torch.float8_e4m3fn)
    ops.dynamic_per_token_scaled_fp8_quant(quantized, x, token_scale, None)
    return quantized, token_scale


def quantize_int8(ops, x):
    quantized, token_scale = tokens_like(x, torch.int8)
    ops.dynamic_scaled_int8_quant(quantized, x, token_scale, None)
    return quantized, token_scale


def quantize_blocks(ops, x):
    return per_token_groups_by(ops.per_token_group_fp8_quant, x)


def block_mm(ops, quantized, token_scale, codes, scale, bias, dtype):
    out = scaled_mm(ops, quantized, token_scale, codes, scale.t(), None, dtype)
    return out if bias is None else out.add_(bias)


def scaled_mm(ops, quantized, token_scale, codes, scale, bias, dtype):
    out = torch.empty((quantized.shape[0], codes.shape[0]), dtype=dtype, device=quantized.device)
    ops.cutlass_scaled_mm(out, quantized, codes.t(), token_scale, scale, bias)
    return out


ROWS = (
    Kernel(
        "vllm",
        ("fp8-channel",),
        library_linear("vllm_fp8_linear", VLLM, fp8_linear),
        "fp8",
        "fp8 weights x fp8 activations (per-token), bias in the same pass, vLLM's CUTLASS kernel",
        linux_gpu(VLLM, (8, 9)),
        steps=library_steps(
            "vllm_fp8_multiply",
            VLLM,
            library_quantize("vllm_fp8_quantize", VLLM, quantize_fp8, lambda x: tokens_like(x, torch.float8_e4m3fn)),
            scaled_mm,
        ),
    ),
    Kernel(
        "vllm",
        ("int8-channel",),
        library_linear("vllm_int8_linear", VLLM, int8_linear),
        "int8",
        "int8 weights x int8 activations (per-token), bias in the same pass, vLLM's CUTLASS kernel",
        linux_gpu(VLLM, (7, 5), (9, 0)),
        steps=library_steps(
            "vllm_int8_multiply",
            VLLM,
            library_quantize("vllm_int8_quantize", VLLM, quantize_int8, lambda x: tokens_like(x, torch.int8)),
            scaled_mm,
        ),
    ),
    Kernel(
        "vllm",
        ("fp8-block128",),
        library_linear("vllm_block_linear", VLLM, block_linear),
        "fp8-group128",
        "fp8 weights x fp8 activations (per token and 128 channels), vLLM's CUTLASS kernel",
        linux_gpu(VLLM, (9, 0), n_multiple=GROUP, k_multiple=GROUP),
        steps=library_steps(
            "vllm_block_multiply",
            VLLM,
            library_quantize("vllm_block_quantize", VLLM, quantize_blocks, lambda x: groups_like(x, TOKEN_MULTIPLE)),
            block_mm,
        ),
    ),
)
