"""Files of every format that LightX2V and others write, without a function of the pack."""

from collections.abc import Callable
from functools import partial

import torch

from ..demo import quantize
from ..demo.trained import Tensors
from . import quantize_blocks, quantize_int4

# kind -> weight [N, K] -> the layer's tensors, by what their names end in; None if the kind cannot hold the shape
KINDS: dict[str, Callable[[torch.Tensor], Tensors | None]] = {
    "int8": partial(quantize.rows, "int8"),
    "fp8": partial(quantize.rows, "fp8"),
    "fp8-tensor": quantize_blocks.fp8_tensor,
    "block128": quantize_blocks.block128,
    "mxfp8": quantize_blocks.mxfp8,
    "mxfp4": quantize_blocks.mxfp4,
    "mxfp6": quantize_blocks.mxfp6,
    "nvfp4": quantize_blocks.nvfp4,
    "int4": quantize_int4.plain,
    "int4-compressed": quantize_int4.compressed_tensors,
    "int4-gptq": quantize_int4.gptq,
    "int4-gptq-asymmetric": quantize_int4.gptq_asymmetric,
    "int4-autoawq": quantize_int4.autoawq,
    "int4-autoawq-64": partial(quantize_int4.autoawq, group=64),
    "int4-autoawq-32": partial(quantize_int4.autoawq, group=32),
    "int4-marlin": quantize_int4.marlin,
}


def quantized(tensors: Tensors, kind: str, model: str) -> Tensors:
    """As demo.quantize.quantized; kind: a key of KINDS."""
    return quantize.quantized(tensors, KINDS[kind], model)
