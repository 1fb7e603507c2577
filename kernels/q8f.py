"""q8_kernels: fp8 and int8 kernels for Ada (RTX 40). Its compiled module alone is imported: the package around it pulls
in diffusers."""

from types import ModuleType

import torch

from .declare import declare
from .kernel import Requirements
from .libraries import LacksError, Library, register
from .quantizers import tokens

ADA = (8, 9)


def load_module() -> ModuleType:
    """q8_kernels_cuda.gemm._C with q8_mm, fp8_mm and their _bias variants."""
    from q8_kernels_cuda.gemm import _C

    if not hasattr(_C, "fp8_mm_bias"):
        raise LacksError("has no fp8_mm_bias: another q8_kernels than KONAKONA666's, LTX-Video's has other kernels")
    return _C


Q8 = register(
    Library(
        "q8-kernels",
        ("q8_kernels",),
        ("q8_kernels_cuda",),
        load_module,
        {
            "Linux": "pip install --no-build-isolation git+https://github.com/KONAKONA666/q8_kernels, which takes the "
            "CUDA toolkit to compile"
        },
    )
)


def fp8_mm(quantized, weight, bias, dtype):
    """K a multiple of 64, N of 128."""
    return _multiply(Q8.loaded().fp8_mm, Q8.loaded().fp8_mm_bias, *quantized, weight, bias, dtype)


def int8_mm(quantized, weight, bias, dtype):
    """K a multiple of 64, N of 128."""
    return _multiply(Q8.loaded().q8_mm, Q8.loaded().q8_mm_bias, *quantized, weight, bias, dtype)


def _multiply(mm, mm_bias, codes, token_scale, weight, bias, dtype):
    # the weight is [N, K] as it is; the last two arguments: no GELU, and the output's dtype; the output is [1, M, N]
    if bias is None:
        return mm(codes, weight.codes, token_scale, weight.scale, False, dtype)[0]
    return mm_bias(codes, weight.codes, bias.to(torch.float32), token_scale, weight.scale, False, dtype)[0]


# built for Ada alone; with float16 it would return memory that it never wrote
_REQUIRES = Requirements(
    "cuda",
    nvidia=True,
    min_capability=ADA,
    max_capability=ADA,
    library=Q8.name,
    dtypes=(torch.bfloat16,),
    n_multiple=128,
    k_multiple=64,
)

ROWS = (
    *declare(
        "q8f",
        "fp8-channel",
        "fp8 weights x fp8 activations (per-token), bias in the same pass, q8_kernels",
        _REQUIRES,
        quantizer=tokens("fp8"),
        product=fp8_mm,
        bias_like_x=True,
    ),
    *declare(
        "q8f",
        "int8-channel",
        "int8 weights x int8 activations (per-token), bias in the same pass, q8_kernels",
        _REQUIRES,
        quantizer=tokens("int8"),
        product=int8_mm,
        bias_like_x=True,
    ),
)
