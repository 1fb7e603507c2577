"""torchao: its int8 matmul with per-token activations, and what LightX2V calls fp8-torchao, which is torch's own
row-wise fp8 matmul and needs no package."""

import logging

import torch

from . import quantizers
from .adapter import MULTIPLY_SCHEMA, SCHEMA, library_linear, library_steps, multiplied_like
from .kernel import Kernel, Requirements, Steps
from .libraries import Library, register

# torchao writes int32 accumulators and a float32 copy of them: at most 8 bytes for each of these per pass
VALUES = 1 << 25
# up to 0.11 without the underscore
MATMULS = ("_quant_int8_per_token_matmul", "quant_int8_per_token_matmul")


def load_matmul():
    """matmul(codes int8 [M, K], scale [M, 1], weight codes int8 [K, N], scale [1, N], output dtype) -> [M, N]."""
    log = logging.getLogger("torchao")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns of compiled parts that nothing here uses
    try:
        from torchao.quantization import utils
    finally:
        log.setLevel(level)
    name = next(name for name in MATMULS if hasattr(utils, name))
    return getattr(utils, name)


TORCHAO = register(Library("torchao", ("torchao",), ("torchao",), load_matmul, {"": "pip install torchao"}))


def int8_linear(matmul, x, codes, scale, bias):
    """codes int8 [N, K], scale float32 [N, 1]; K and N multiples of 8: with others torchao multiplies on the CPU.

    torchao's own quantizer rounds the scales of bfloat16 activations to bfloat16, so ours is used.
    """
    return int8_mm(matmul, *quantizers.per_token(x, "int8"), codes, scale, bias, x.dtype)


def int8_mm(matmul, quantized, token_scale, codes, scale, bias, dtype):
    weight = codes.t().contiguous()  # torchao would copy it in every pass
    rows, columns = quantized.shape[0], codes.shape[0]
    out = codes.new_empty((rows, columns), dtype=dtype)
    passes = -(-rows * columns // VALUES)
    step = -(-rows // passes)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        values = matmul(quantized[part], token_scale[part], weight, scale.view(1, -1), torch.float32)
        if bias is None:
            out[part] = values
        else:
            torch.add(values, bias, out=out[part])
    return out


@torch.library.custom_op("x2v_quant::torchao_fp8_linear", mutates_args=(), schema=SCHEMA)
def fp8_linear(x, codes, scale, bias):
    """x [M, K] bfloat16, codes float8_e4m3fn [N, K], scale float32 [N, 1], bias [N] -> [M, N] bfloat16; K and N
    multiples of 16. Sums with fewer bits than kernel "torch" does, as LightX2V's scheme of this name."""
    if x.shape[0] == 0:
        return x.new_empty((0, codes.shape[0]))
    quantized, token_scale = quantizers.per_token(x, "fp8")
    return _fp8_mm(quantized, token_scale, codes, scale, bias, x.dtype)


def _fp8_mm(quantized, token_scale, codes, scale, bias, dtype):
    bias = None if bias is None else bias.to(dtype)
    return torch._scaled_mm(
        quantized, codes.t(), token_scale, scale.view(1, -1), bias, out_dtype=dtype, use_fast_accum=True
    )


@fp8_linear.register_fake
def _(x, codes, scale, bias):
    return x.new_empty((x.shape[0], codes.shape[0]))


@torch.library.custom_op("x2v_quant::torchao_fp8_multiply", mutates_args=(), schema=MULTIPLY_SCHEMA)
def fp8_multiply(quantized, token_scale, rows, dtype, codes, scale, bias):
    """`fp8_linear` of activations that are quantized already."""
    return _fp8_mm(quantized, token_scale, codes, scale, bias, dtype)


fp8_multiply.register_fake(multiplied_like)


def _fp8_multiply(given, rows, dtype, codes, params, bias):
    return torch.ops.x2v_quant.torchao_fp8_multiply(*given, rows, dtype, codes, params.scale, bias)


ROWS = (
    Kernel(
        "torchao",
        ("int8-channel",),
        library_linear("torchao_int8_linear", TORCHAO, int8_linear),
        "int8",
        "int8 weights x int8 activations (per-token), int32 accumulation, torchao",
        Requirements(library=TORCHAO.name, n_multiple=8, k_multiple=8),
        steps=library_steps("torchao_int8_multiply", TORCHAO, quantizers.tokens("int8"), int8_mm),
    ),
    Kernel(
        "torchao",
        ("fp8-channel",),
        lambda x, codes, params, bias: torch.ops.x2v_quant.torchao_fp8_linear(x, codes, params.scale, bias),
        "fp8",
        "fp8 weights x fp8 activations (per-token), row-wise torch._scaled_mm with fast accumulation",
        Requirements(
            "cuda",
            nvidia=True,
            min_capability=(8, 9),
            dtypes=(torch.bfloat16,),
            n_multiple=16,
            k_multiple=16,
        ),
        steps=Steps(quantizers.tokens("fp8"), _fp8_multiply),
    ),
)
