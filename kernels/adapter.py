"""What every adapter of a kernel library does around the library's own call: one torch op, which guards its inputs."""

from collections.abc import Callable
from typing import Any

import torch

from .kernel import Requirements, Steps
from .libraries import Library

# 16-bit types, in the order in which a kernel is probed with them: not every GPU has bfloat16
FLOAT16_FIRST = (torch.float16, torch.bfloat16)
SCHEMA = "(Tensor x, Tensor codes, Tensor scale, Tensor? bias) -> Tensor"
QUANTIZE_SCHEMA = "(Tensor x) -> (Tensor, Tensor)"
MULTIPLY_SCHEMA = (
    "(Tensor quantized, Tensor token_scale, SymInt rows, ScalarType dtype, Tensor codes, Tensor scale, Tensor? bias)"
    " -> Tensor"
)


def library_linear(
    op_name: str,
    library: Library,
    compute: Callable[[Any, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor],
    columns: Callable[[torch.Tensor], int] = lambda codes: codes.shape[0],
) -> Callable[[torch.Tensor, torch.Tensor, Any, torch.Tensor | None], torch.Tensor]:
    """Register x2v_quant::<op_name> and return it as a Kernel's `linear`.

    compute(what the library's `load` returned, x [M, K] contiguous with M > 0, codes, scale, bias [N] contiguous and of
    x's dtype, or None) -> [M, N] in x.dtype. `columns`: codes -> N.
    """

    def run(x, codes, scale, bias):
        if x.shape[0] == 0:
            return x.new_empty((0, columns(codes)))
        bias = None if bias is None else bias.to(x.dtype).contiguous()
        return compute(library.loaded(), x.contiguous(), codes, scale, bias)

    op = torch.library.custom_op(f"x2v_quant::{op_name}", run, mutates_args=(), schema=SCHEMA)
    op.register_fake(lambda x, codes, scale, bias: x.new_empty((x.shape[0], columns(codes))))

    def linear(x, codes, params, bias):
        return op(x, codes, params.scale, bias)

    return linear


def library_quantize(
    op_name: str,
    library: Library,
    compute: Callable[[Any, torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
    like: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
) -> Callable[[torch.Tensor, Any], list[torch.Tensor]]:
    """Register x2v_quant::<op_name> and return it as a `Steps.quantize`. compute(what the library's `load` returned,
    x [M, K] contiguous) -> codes, scale; `like`: x -> tensors of their shapes, for graphs."""

    def run(x):
        return compute(library.loaded(), x.contiguous())

    op = torch.library.custom_op(f"x2v_quant::{op_name}", run, mutates_args=(), schema=QUANTIZE_SCHEMA)
    op.register_fake(like)
    return lambda x, params: op(x)


def library_steps(
    op_name: str,
    library: Library,
    quantize: Callable[[torch.Tensor, Any], list[torch.Tensor]],
    multiply: Callable[..., torch.Tensor],
) -> Steps:
    """Register x2v_quant::<op_name> and return it with `quantize` as a kernel's `steps`. multiply(what the library's
    `load` returned, quantized, token_scale, codes, scale, bias [N] contiguous and of x's dtype, or None, that dtype)
    -> [at least M, N]."""

    def run(quantized, token_scale, rows, dtype, codes, scale, bias):
        bias = None if bias is None else bias.to(dtype).contiguous()
        return multiply(library.loaded(), quantized, token_scale, codes, scale, bias, dtype)[:rows]

    op = torch.library.custom_op(f"x2v_quant::{op_name}", run, mutates_args=(), schema=MULTIPLY_SCHEMA)
    op.register_fake(multiplied_like)
    return Steps(
        quantize, lambda given, rows, dtype, codes, params, bias: op(*given, rows, dtype, codes, params.scale, bias)
    )


def multiplied_like(quantized, token_scale, rows, dtype, codes, *_):
    """What an op of MULTIPLY_SCHEMA gives, for graphs."""
    return codes.new_empty((rows, codes.shape[0]), dtype=dtype)


def accepted(op: torch._ops.OpOverload, **arguments) -> dict:
    """Those of `arguments` that the operator's own schema has: releases rename and drop some."""
    names = {argument.name for argument in op._schema.arguments}
    return {name: value for name, value in arguments.items() if name in names}


def optional(op: torch._ops.OpOverload) -> set[str]:
    """The operator's arguments that may be None: those without a default still have to be given."""
    return {argument.name for argument in op._schema.arguments if argument.type.kind() == "OptionalType"}


def linux_gpu(
    library: Library,
    first: tuple[int, int],
    last: tuple[int, int] | None = None,
    n_multiple: int = 16,
    k_multiple: int = 16,
) -> Requirements:
    """What vLLM's and sgl-kernel's operators need: NVIDIA GPUs of compute capability `first` to `last`, 16-bit x, and a
    wheel, which exists for Linux alone."""
    return Requirements(
        "cuda",
        nvidia=True,
        min_capability=first,
        max_capability=last,
        systems=("Linux",),
        library=library.name,
        dtypes=FLOAT16_FIRST,
        n_multiple=n_multiple,
        k_multiple=k_multiple,
    )
