"""vLLM's compiled operators: fp8 and int8 per channel, fp8 in blocks. Its op library alone is loaded, never vllm."""

import torch

from ..formats.fp8_block128 import BLOCK
from . import shared_objects
from .declare import Quantizer, declare
from .kernel import linux_gpu
from .libraries import LacksError, Library, register
from .ops import groups_like, tokens_like
from .quantizers import TOKEN_MULTIPLE, per_token_groups_by


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


def quantize_fp8(x):
    """As `tokens_like` of float8_e4m3fn."""
    quantized, token_scale = tokens_like(x, torch.float8_e4m3fn)
    VLLM.loaded().dynamic_per_token_scaled_fp8_quant(quantized, x, token_scale, None)
    return quantized, token_scale


def quantize_int8(x):
    """As `tokens_like` of int8."""
    quantized, token_scale = tokens_like(x, torch.int8)
    VLLM.loaded().dynamic_scaled_int8_quant(quantized, x, token_scale, None)
    return quantized, token_scale


def quantize_blocks(x):
    """As `groups_like`, rows of tokens in fours."""
    return per_token_groups_by(VLLM.loaded().per_token_group_fp8_quant, x)


def channel_mm(quantized, weight, bias, dtype):
    """K and N multiples of 16."""
    return scaled_mm(*quantized, weight.codes, weight.scale, bias, dtype)


def block_mm(quantized, weight, bias, dtype):
    """The operator adds no bias to blocks."""
    out = scaled_mm(*quantized, weight.codes, weight.scale.t(), None, dtype)
    return out if bias is None else out.add_(bias)


def scaled_mm(quantized, token_scale, codes, scale, bias, dtype):
    """Scales per token and row, or per 128 channels and 128 x 128 block: the operator tells them by their shapes."""
    out = torch.empty((quantized.shape[0], codes.shape[0]), dtype=dtype, device=quantized.device)
    VLLM.loaded().cutlass_scaled_mm(out, quantized, codes.t(), token_scale, scale, bias)
    return out


ROWS = (
    *declare(
        "vllm",
        "fp8-channel",
        "fp8 weights x fp8 activations (per-token), bias in the same pass, vLLM's CUTLASS kernel",
        linux_gpu(VLLM, (8, 9)),
        quantizer=Quantizer("fp8", quantize_fp8, lambda x: tokens_like(x, torch.float8_e4m3fn)),
        product=channel_mm,
        bias_like_x=True,
    ),
    *declare(
        "vllm",
        "int8-channel",
        "int8 weights x int8 activations (per-token), bias in the same pass, vLLM's CUTLASS kernel",
        linux_gpu(VLLM, (7, 5), (9, 0)),
        quantizer=Quantizer("int8", quantize_int8, lambda x: tokens_like(x, torch.int8)),
        product=channel_mm,
        bias_like_x=True,
    ),
    *declare(
        "vllm",
        "fp8-block128",
        "fp8 weights x fp8 activations (per token and 128 channels), vLLM's CUTLASS kernel",
        linux_gpu(VLLM, (9, 0), n_multiple=BLOCK, k_multiple=BLOCK),
        quantizer=Quantizer("fp8-group128", quantize_blocks, lambda x: groups_like(x, TOKEN_MULTIPLE)),
        product=block_mm,
        bias_like_x=True,
    ),
)
