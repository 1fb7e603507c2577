"""Marlin: int4 weights in Marlin's order x 16-bit activations, by vLLM's operator, sgl-kernel's or the original."""

import functools
from collections.abc import Callable

import torch

from .declare import declare
from .kernel import FLOAT16_FIRST, Kernel, Requirements
from .libraries import LacksError, Library, register
from .sgl import HINT, MODULES, PACKAGES, loader
from .shared_objects import accepted, optional
from .vllm import VLLM

FORMAT = "int4-g128-marlin"
# the operators' number for unsigned 4-bit codes with an offset of 8, the same in every release
UINT4B8 = 1125899907892224
# vLLM 0.10 has both names, and its marlin_gemm is another one
OPERATORS = ("gptq_marlin_gemm", "marlin_gemm")
# locks: vLLM takes up to four blocks per multiprocessor, the original up to 16 passes per 128 columns
BLOCKS_PER_SM, MAX_PAR = 4, 16


def load_original() -> Callable:
    """marlin.mul of IST-DASLab's package."""
    import marlin

    if not hasattr(marlin, "mul"):
        raise LacksError("has no mul: the package index's marlin is another thing")
    return marlin.mul


SGL_MARLIN = register(
    Library(
        "sgl-kernel up to 0.3.21",
        PACKAGES,
        MODULES,
        loader("gptq_marlin_gemm", "0.3.21"),
        {"Linux": "pip install --no-deps sgl-kernel==0.3.21, which is for torch 2.9"},
        HINT,
    )
)
MARLIN = register(
    Library(
        "marlin",
        ("marlin",),
        ("marlin_cuda",),
        load_original,
        {
            "Linux": "pip install --no-deps vllm, whose Marlin is taken first, or pip install --no-build-isolation "
            "git+https://github.com/IST-DASLab/marlin; the package index's marlin is another thing"
        },
    )
)


def operator_linear(library, x, weight, bias):
    """By the operator of vLLM or sgl-kernel. codes int32 [K / 16, 2 N], scale [K / 128, N] in Marlin's order; N a
    multiple of 64, K of 128. Scales are rounded to x.dtype, which is what the operator reads.

    The operator's arguments have changed with the releases, so it is called by the names in its own schema.
    """
    op = _operator(library.loaded())
    columns, width = weight.shape
    others = accepted(
        op,
        b_bias_or_none=None if bias is None else _in_column_order(bias),
        b_q_type=UINT4B8,
        b_q_type_id=UINT4B8,
        b_type_id=UINT4B8,
        is_k_full=True,
    )
    out = op(
        a=x,
        b_q_weight=weight.codes,
        b_scales=weight.scale.to(x.dtype),
        workspace=_locks(x.device, _multiprocessors(x.device) * BLOCKS_PER_SM),
        size_m=x.shape[0],
        size_n=columns,
        size_k=width,
        use_atomic_add=False,
        use_fp32_reduce=True,
        is_zp_float=False,
        **others,
        **dict.fromkeys(optional(op) - others.keys()),
    )
    return out if bias is None or "b_bias_or_none" in others else out.add_(bias)


def original_linear(library, x, weight, bias):
    """By IST-DASLab's kernel, which computes in float16 whatever x is. N a multiple of 256, K of 128."""
    half, columns = x.to(torch.float16), weight.shape[0]
    out = half.new_empty((x.shape[0], columns))
    locks = _locks(x.device, columns // 128 * MAX_PAR)
    with torch.cuda.device_of(x):
        library.loaded()(half, weight.codes, out, weight.scale.to(torch.float16), locks, max_par=MAX_PAR)
    out = out.to(x.dtype)
    return out if bias is None else out.add_(bias)


@functools.cache
def _operator(ops) -> torch._ops.OpOverload:
    return next(getattr(ops, name) for name in OPERATORS if hasattr(ops, name)).default


def _in_column_order(bias: torch.Tensor) -> torch.Tensor:
    """The order in which a tile writes its columns: groups of 32, seen as [4, 4, 2], with the first two axes exchanged
    (vLLM's marlin_permute_bias)."""
    return bias.view(-1, 4, 4, 2).transpose(1, 2).reshape(-1)


def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count


@functools.cache
def _locks(device: torch.device, count: int) -> torch.Tensor:
    """Zeros that the kernels leave zero behind them."""
    with torch.inference_mode(False):  # a tensor of this mode could not be written to outside it
        return torch.zeros(count, dtype=torch.int32, device=device)


def _row(library, linear, summary, **requires) -> tuple[Kernel, ...]:
    return declare(
        "marlin",
        FORMAT,
        f"int4 weights x 16-bit activations, {summary}",
        Requirements("cuda", nvidia=True, library=library.name, dtypes=FLOAT16_FIRST, k_multiple=128, **requires),
        fused=functools.partial(linear, library),
        bias_like_x=True,
    )


LINUX = {"systems": ("Linux",), "n_multiple": 64}
ROWS = (
    *_row(VLLM, operator_linear, "vLLM's Marlin", min_capability=(7, 5), **LINUX),
    *_row(SGL_MARLIN, operator_linear, "sgl-kernel's Marlin", min_capability=(8, 0), **LINUX),
    # last, so that its advice is told where none of the three is here: it names vLLM, too
    *_row(MARLIN, original_linear, "the original Marlin in float16", min_capability=(8, 0), n_multiple=256),
)
