"""sgl-kernel's compiled operators, under its old and its new name (sglang-kernel): fp8 and int8 per channel, fp8 in
blocks. Its op library alone is loaded, never the package."""

import torch

from . import quantizers, shared_objects
from .activation import GROUP
from .adapter import library_linear, library_quantize, library_steps, linux_gpu
from .kernel import Kernel
from .libraries import LacksError, Library, register
from .quantizers import TOKEN_MULTIPLE, groups_like, per_token_groups_by, tokens_like

PACKAGES, MODULES = ("sglang-kernel", "sgl-kernel"), ("sgl_kernel",)
HINT = "it was built for another torch or CUDA, or there is no NVIDIA driver"
HOPPER = (9, 0)


def load_ops() -> torch._ops._OpNamespace:
    """torch.ops.sgl_kernel with the operators for the current GPU in it: one build is for Hopper, one for the rest."""
    ops = torch.ops.sgl_kernel
    if not hasattr(ops, "fp8_scaled_mm"):
        build = "sm90" if torch.cuda.get_device_capability() == HOPPER else "sm100"
        # builds from source have one file for one GPU
        shared_objects.load("sgl_kernel", f"{build}/common_ops", "common_ops")
    return ops


def loader(operator: str, last: str):
    """A `load` that wants `operator`, which releases after `last` do not have."""

    def load():
        ops = load_ops()
        if not hasattr(ops, operator):
            raise LacksError(f"has no {operator}: {last} was the last release that had it")
        return ops

    return load


SGL = register(
    Library(
        "sgl-kernel",
        PACKAGES,
        MODULES,
        load_ops,
        {"Linux": "pip install --no-deps sglang-kernel, 0.4.6 for torch 2.11, 0.4.8 for 2.13, 0.4.10 for 2.14"},
        HINT,
    )
)
SGL_BLOCK = register(
    Library(
        "sgl-kernel up to 0.4.4",
        PACKAGES,
        MODULES,
        loader("fp8_blockwise_scaled_mm", "0.4.4"),
        {"Linux": "pip install --no-deps sglang-kernel==0.4.4, which is for torch 2.11"},
        HINT,
    )
)


def fp8_linear(ops, x, codes, scale, bias):
    """codes float8_e4m3fn [N, K], scale float32 [N, 1]; K a multiple of 16, N of 8."""
    return fp8_mm(ops, *quantize_fp8(ops, x), codes, scale, bias, x.dtype)


def int8_linear(ops, x, codes, scale, bias):
    """codes int8 [N, K], scale float32 [N, 1]; K a multiple of 16, N of 8. The library has no int8 quantizer."""
    return int8_mm(ops, *quantizers.per_token(x, "int8"), codes, scale, bias, x.dtype)


def block_linear(ops, x, codes, scale, bias):
    """codes float8_e4m3fn [N, K], scale float32 [N / 128, K / 128]; the operator takes no bias."""
    return block_mm(ops, *quantize_blocks(ops, x), codes, scale, bias, x.dtype)[: x.shape[0]]


def quantize_fp8(ops, x):
    quantized, token_scale = tokens_like(x, torch.float8_e4m3fn)
    ops.sgl_per_token_quant_fp8(x, quantized, token_scale)
    return quantized, token_scale


def quantize_blocks(ops, x):
    return per_token_groups_by(ops.sgl_per_token_group_quant_8bit, x)


def fp8_mm(ops, quantized, token_scale, codes, scale, bias, dtype):
    return ops.fp8_scaled_mm(quantized, codes.t(), token_scale, scale, dtype, bias)


def int8_mm(ops, quantized, token_scale, codes, scale, bias, dtype):
    return ops.int8_scaled_mm(quantized, codes.t(), token_scale, scale, dtype, bias)


def block_mm(ops, quantized, token_scale, codes, scale, bias, dtype):
    out = ops.fp8_blockwise_scaled_mm(quantized, codes.t(), token_scale, scale.t(), dtype)
    return out if bias is None else out.add_(bias)


ROWS = (
    Kernel(
        "sgl",
        ("fp8-channel",),
        library_linear("sgl_fp8_linear", SGL, fp8_linear),
        "fp8",
        "fp8 weights x fp8 activations (per-token), bias in the same pass, sgl-kernel",
        linux_gpu(SGL, (8, 9), n_multiple=8),
        steps=library_steps(
            "sgl_fp8_multiply",
            SGL,
            library_quantize("sgl_fp8_quantize", SGL, quantize_fp8, lambda x: tokens_like(x, torch.float8_e4m3fn)),
            fp8_mm,
        ),
    ),
    Kernel(
        "sgl",
        ("int8-channel",),
        library_linear("sgl_int8_linear", SGL, int8_linear),
        "int8",
        "int8 weights x int8 activations (per-token), bias in the same pass, sgl-kernel",
        # on 7.5 it computes float16 alone, and bfloat16 is an error in the middle of a run
        linux_gpu(SGL, (8, 0), (9, 0), n_multiple=8),
        steps=library_steps("sgl_int8_multiply", SGL, quantizers.tokens("int8"), int8_mm),
    ),
    Kernel(
        "sgl",
        ("fp8-block128",),
        library_linear("sgl_block_linear", SGL_BLOCK, block_linear),
        "fp8-group128",
        "fp8 weights x fp8 activations (per token and 128 channels), sgl-kernel",
        linux_gpu(SGL_BLOCK, (9, 0), (10, 0), GROUP, GROUP),
        steps=library_steps(
            "sgl_block_multiply",
            SGL_BLOCK,
            library_quantize(
                "sgl_block_quantize", SGL_BLOCK, quantize_blocks, lambda x: groups_like(x, TOKEN_MULTIPLE)
            ),
            block_mm,
        ),
    ),
)
