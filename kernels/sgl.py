"""sgl-kernel's compiled operators, under its old and its new name (sglang-kernel): fp8 and int8 per channel, fp8 in
blocks. Its op library alone is loaded, never the package."""

import torch

from ..formats.fp8_block128 import BLOCK
from . import shared_objects
from .declare import Quantizer, declare
from .kernel import linux_gpu
from .libraries import LacksError, Library, register
from .ops import groups_like, tokens_like
from .quantizers import TOKEN_MULTIPLE, per_token_groups_by, tokens

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


def quantize_fp8(x):
    """As `tokens_like` of float8_e4m3fn."""
    quantized, token_scale = tokens_like(x, torch.float8_e4m3fn)
    SGL.loaded().sgl_per_token_quant_fp8(x, quantized, token_scale)
    return quantized, token_scale


def quantize_blocks(x):
    """As `groups_like`, rows of tokens in fours."""
    return per_token_groups_by(SGL_BLOCK.loaded().sgl_per_token_group_quant_8bit, x)


def fp8_mm(quantized, weight, bias, dtype):
    """K a multiple of 16, N of 8."""
    codes, token_scale = quantized
    return SGL.loaded().fp8_scaled_mm(codes, weight.codes.t(), token_scale, weight.scale, dtype, bias)


def int8_mm(quantized, weight, bias, dtype):
    """K a multiple of 16, N of 8."""
    codes, token_scale = quantized
    return SGL.loaded().int8_scaled_mm(codes, weight.codes.t(), token_scale, weight.scale, dtype, bias)


def block_mm(quantized, weight, bias, dtype):
    """The operator takes no bias."""
    codes, token_scale = quantized
    multiply = SGL_BLOCK.loaded().fp8_blockwise_scaled_mm
    out = multiply(codes, weight.codes.t(), token_scale, weight.scale.t(), dtype)
    return out if bias is None else out.add_(bias)


ROWS = (
    *declare(
        "sgl",
        "fp8-channel",
        "fp8 weights x fp8 activations (per-token), bias in the same pass, sgl-kernel",
        linux_gpu(SGL, (8, 9), n_multiple=8),
        quantizer=Quantizer("fp8", quantize_fp8, lambda x: tokens_like(x, torch.float8_e4m3fn)),
        product=fp8_mm,
        bias_like_x=True,
    ),
    *declare(
        "sgl",
        "int8-channel",
        "int8 weights x int8 activations (per-token), bias in the same pass, sgl-kernel",
        # on 7.5 it computes float16 alone, and bfloat16 is an error in the middle of a run
        linux_gpu(SGL, (8, 0), (9, 0), n_multiple=8),
        quantizer=tokens("int8"),  # the library has none
        product=int8_mm,
        bias_like_x=True,
    ),
    *declare(
        "sgl",
        "fp8-block128",
        "fp8 weights x fp8 activations (per token and 128 channels), sgl-kernel",
        linux_gpu(SGL_BLOCK, (9, 0), (10, 0), BLOCK, BLOCK),
        quantizer=Quantizer("fp8-group128", quantize_blocks, lambda x: groups_like(x, TOKEN_MULTIPLE)),
        product=block_mm,
        bias_like_x=True,
    ),
)
