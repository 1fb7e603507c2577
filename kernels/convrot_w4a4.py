"""Rotated 4-bit weights with activations of 4 or 8 bits per token: comfy-kitchen's kernels, and torch's int8 product
of weights that are expanded to int8 for each call."""

from types import SimpleNamespace

import comfy_kitchen
import torch

from ..formats.convrot_w4a4 import NAMES, activation_of, expanded
from .activation import quantize_int4, quantize_int8
from .comfy_kitchen import library_with
from .declare import Quantizer, declare
from .kernel import Kernel, Requirements
from .libraries import LIBRARIES
from .ops import tokens_like
from .torch_int8 import ROW_MULTIPLES, int8_mm

QUANTIZE = {"int4": quantize_int4, "int8": quantize_int8}
LINEAR = "convrot_w4a4_linear"
LIBRARIES[f"comfy-kitchen {LINEAR}"] = library_with(LINEAR)


def _expanding(quantized, weight, bias, dtype):
    whole = SimpleNamespace(codes=expanded(weight.codes), scale=weight.scale, shape=weight.shape)
    return int8_mm(quantized, whole, bias, dtype)


def _tokens(group: int, linear_dtype: str, pad_rows: int) -> Quantizer:
    def compute(x):
        return QUANTIZE[linear_dtype](x, pad_rows, rotation=group)

    return Quantizer(activation_of(group, linear_dtype), compute, lambda x: tokens_like(x, torch.int8, pad_rows))


def _in_torch(group: int, linear_dtype: str, name: str, requires: Requirements, rows: int) -> tuple[Kernel, ...]:
    return declare(
        "torch",
        name,
        f"int4 weights expanded to int8 x {linear_dtype} activations (per-token), rotated, torch._int_mm",
        requires,
        quantizer=_tokens(group, linear_dtype, rows),
        product=_expanding,
    )


def _kitchen(group: int, linear_dtype: str, name: str, capabilities, bits: str) -> tuple[Kernel, ...]:
    """bits: what the activations become there."""

    def linear(x, weight, bias):
        return comfy_kitchen.convrot_w4a4_linear(
            x, weight.codes, weight.scale.view(-1), bias, convrot_groupsize=group, linear_dtype=linear_dtype
        )

    first, last = capabilities
    requires = Requirements(
        "cuda",
        nvidia=True,
        min_capability=first,
        max_capability=last,
        library=f"comfy-kitchen {LINEAR}",
        n_multiple=16,
        k_multiple=64,
    )
    return declare(
        "comfy-kitchen",
        name,
        f"int4 weights x {bits} activations (per-token), rotated, ComfyUI's kernels",
        requires,
        fused=linear,
        activation=activation_of(group, bits),
        bias_like_x=True,
    )


# what comfy-kitchen multiplies (its backends/cuda): 4 bits where GPUs do, on newer ones 8
OF_KITCHEN = {"int4": ((((8, 0), (8, 9)), "int4"), (((9, 0), None), "int8")), "int8": ((((7, 5), None), "int8"),)}
ROWS = (
    *(
        kernel
        for (group, dtype), name in NAMES.items()
        for capabilities, bits in OF_KITCHEN[dtype]
        for kernel in _kitchen(group, dtype, name, capabilities, bits)
    ),
    *(
        kernel
        for (group, dtype), name in NAMES.items()
        for requires, rows in ROW_MULTIPLES
        for kernel in _in_torch(group, dtype, name, requires, rows)
    ),
)
