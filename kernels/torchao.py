"""torchao: its int8 matmul with per-token activations, and what LightX2V calls fp8-torchao, which is torch's own
row-wise fp8 matmul and needs no package."""

import logging

import torch

from .declare import declare
from .kernel import Requirements
from .libraries import Library, register
from .quantizers import tokens

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


def int8_mm(quantized, weight, bias, dtype):
    """K and N multiples of 8: with others torchao multiplies on the CPU."""
    codes, token_scale = quantized
    rows, columns = codes.shape[0], weight.shape[0]
    transposed = weight.codes.t().contiguous()  # torchao would copy it in every pass
    out = codes.new_empty((rows, columns), dtype=dtype)
    passes = -(-rows * columns // VALUES)
    step = -(-rows // passes)
    multiply = TORCHAO.loaded()
    for start in range(0, rows, step):
        part = slice(start, start + step)
        values = multiply(codes[part], token_scale[part], transposed, weight.scale.view(1, -1), torch.float32)
        if bias is None:
            out[part] = values
        else:
            torch.add(values, bias, out=out[part])
    return out


def fp8_mm(quantized, weight, bias, dtype):
    """bfloat16; K and N multiples of 16. Fast accumulation, as LightX2V's scheme of this name."""
    codes, token_scale = quantized
    scale = weight.scale.view(1, -1)
    return torch._scaled_mm(codes, weight.codes.t(), token_scale, scale, bias, out_dtype=dtype, use_fast_accum=True)


ROWS = (
    *declare(
        "torchao",
        "int8-channel",
        "int8 weights x int8 activations (per-token), int32 accumulation, torchao",
        Requirements(library=TORCHAO.name, n_multiple=8, k_multiple=8),
        quantizer=tokens("int8"),  # torchao's rounds the scales of bfloat16 activations to bfloat16
        product=int8_mm,
        bias_like_x=True,
    ),
    *declare(
        "torchao",
        "fp8-channel",
        "fp8 weights x fp8 activations (per-token), row-wise torch._scaled_mm with fast accumulation",
        Requirements(
            "cuda",
            nvidia=True,
            min_capability=(8, 9),
            dtypes=(torch.bfloat16,),
            n_multiple=16,
            k_multiple=16,
        ),
        quantizer=tokens("fp8"),
        product=fp8_mm,
        bias_like_x=True,
    ),
)
