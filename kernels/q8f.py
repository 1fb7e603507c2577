"""q8_kernels: fp8 and int8 kernels for Ada (RTX 40). Its compiled module alone is imported: the package around it pulls
in diffusers."""

from types import ModuleType

import torch

from . import quantizers
from .adapter import library_linear, library_steps
from .kernel import Kernel, Requirements
from .libraries import LacksError, Library, register

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


def fp8_linear(module, x, codes, scale, bias):
    """codes float8_e4m3fn [N, K], scale float32 [N, 1]; K a multiple of 64, N of 128."""
    return fp8_mm(module, *quantizers.per_token(x, "fp8"), codes, scale, bias, x.dtype)


def int8_linear(module, x, codes, scale, bias):
    """codes int8 [N, K], scale float32 [N, 1]; K a multiple of 64, N of 128."""
    return int8_mm(module, *quantizers.per_token(x, "int8"), codes, scale, bias, x.dtype)


def fp8_mm(module, *arguments):
    return _multiply(module.fp8_mm, module.fp8_mm_bias, *arguments)


def int8_mm(module, *arguments):
    return _multiply(module.q8_mm, module.q8_mm_bias, *arguments)


def _multiply(mm, mm_bias, quantized, token_scale, codes, scale, bias, dtype):
    # the weight is [N, K] as it is; the last two arguments: no GELU, and the output's dtype; the output is [1, M, N]
    if bias is None:
        return mm(quantized, codes, token_scale, scale, False, dtype)[0]
    return mm_bias(quantized, codes, bias.to(torch.float32), token_scale, scale, False, dtype)[0]


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
    Kernel(
        "q8f",
        ("fp8-channel",),
        library_linear("q8f_fp8_linear", Q8, fp8_linear),
        "fp8",
        "fp8 weights x fp8 activations (per-token), bias in the same pass, q8_kernels",
        _REQUIRES,
        steps=library_steps("q8f_fp8_multiply", Q8, quantizers.tokens("fp8"), fp8_mm),
    ),
    Kernel(
        "q8f",
        ("int8-channel",),
        library_linear("q8f_int8_linear", Q8, int8_linear),
        "int8",
        "int8 weights x int8 activations (per-token), bias in the same pass, q8_kernels",
        _REQUIRES,
        steps=library_steps("q8f_int8_multiply", Q8, quantizers.tokens("int8"), int8_mm),
    ),
)
