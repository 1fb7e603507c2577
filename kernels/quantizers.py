"""Activations quantized for the libraries: by their own operators in one layout, or, where they bring none, by the
fastest that is here: Triton's on a GPU, else torch's."""

import functools
from collections.abc import Callable
from typing import Any

import torch

from . import activation
from .adapter import accepted
from .machine import describe
from .triton import TRITON

# as LightX2V and vLLM call it: below this a group of channels counts as zero
GROUP_EPS = 1e-10
# Hopper's block-scaled kernels read the scales of four tokens at once
TOKEN_MULTIPLE = 4
OLDEST_FOR_TRITON = (8, 0)
IN_TORCH = {"int8": activation.quantize_int8, "fp8": activation.quantize_fp8}
CODES = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}


def per_token(
    x: torch.Tensor, kind: str, pad_rows: int = 1, pre_quant_scale: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] float (M > 0), `kind` "int8" or "fp8" -> codes [M', K], scale float32 [M', 1], both contiguous; M' is M
    rounded up to a multiple of pad_rows, the rows beyond M are zero. pre_quant_scale float32 [K] multiplies x first."""
    if not with_triton(x.device):
        return IN_TORCH[kind](x, pad_rows, pre_quant_scale)
    codes, scale = TRITON.loaded().quantize_tokens(x, kind, pre_quant_scale)
    return _padded(codes, pad_rows), _padded(scale, pad_rows)


def per_token_groups(x: torch.Tensor, pad_rows: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] float (M > 0) -> codes float8_e4m3fn [M', K], scale float32 [M', ceil(K / 128)], whose columns are
    contiguous: the scales of one group of channels lie side by side. M' as in `per_token`."""
    if with_triton(x.device):
        codes, scale = TRITON.loaded().quantize_token_groups(x)
        return _padded(codes, pad_rows), torch.nn.functional.pad(scale, (0, -x.shape[0] % pad_rows)).t()
    codes, scale = activation.quantize_fp8_group128(x, pad_rows)
    return codes, scale.t().contiguous().t()


def _padded(rows: torch.Tensor, multiple: int) -> torch.Tensor:
    missing = -rows.shape[0] % multiple
    return torch.cat([rows, rows.new_zeros((missing, rows.shape[1]))]) if missing else rows


@torch.library.custom_op("x2v_quant::quantize_tokens", mutates_args=())
def quantize_tokens(
    x: torch.Tensor, kind: str, pad_rows: int, pre_quant_scale: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """`per_token`, in a graph."""
    return per_token(x, kind, pad_rows, pre_quant_scale)


@quantize_tokens.register_fake
def _(x, kind, pad_rows, pre_quant_scale=None):
    return tokens_like(x, CODES[kind], pad_rows)


@torch.library.custom_op("x2v_quant::quantize_token_groups", mutates_args=())
def quantize_token_groups(x: torch.Tensor, pad_rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`per_token_groups`, in a graph."""
    return per_token_groups(x, pad_rows)


@quantize_token_groups.register_fake
def groups_like(x: torch.Tensor, pad_rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Tensors like those of `per_token_groups`."""
    rows, groups = _multiple(x.shape[0], pad_rows), -(-x.shape[1] // activation.GROUP)
    codes = x.new_empty((rows, x.shape[1]), dtype=torch.float8_e4m3fn)
    return codes, x.new_empty((groups, rows), dtype=torch.float32).t()


def tokens_like(x: torch.Tensor, dtype: torch.dtype, pad_rows: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Tensors like those of `per_token` with codes of `dtype`."""
    rows = _multiple(x.shape[0], pad_rows)
    return x.new_empty((rows, x.shape[1]), dtype=dtype), x.new_empty((rows, 1), dtype=torch.float32)


def tokens(kind: str, pad_rows: int = 1) -> Callable[[torch.Tensor, Any], list[torch.Tensor]]:
    """`per_token` as a `Steps.quantize`."""
    return lambda x, params: torch.ops.x2v_quant.quantize_tokens(x, kind, pad_rows)


def smooth_tokens(kind: str, pad_rows: int = 1) -> Callable[[torch.Tensor, Any], list[torch.Tensor]]:
    """The same for smoothed formats."""
    return lambda x, params: torch.ops.x2v_quant.quantize_tokens(x, kind, pad_rows, params.pre_quant_scale)


def token_groups(pad_rows: int = 1) -> Callable[[torch.Tensor, Any], list[torch.Tensor]]:
    """`per_token_groups` as a `Steps.quantize`."""
    return lambda x, params: torch.ops.x2v_quant.quantize_token_groups(x, pad_rows)


def _multiple(rows: int, multiple: int) -> int:
    return -(-rows // multiple) * multiple


def per_token_groups_by(op, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] contiguous, K a multiple of 128 -> codes float8_e4m3fn [M', K] and scale float32 [M', K / 128] with
    contiguous columns. `op`: vLLM's or sgl-kernel's quantizer, whose first eight arguments are the same.

    M' is M rounded up to TOKEN_MULTIPLE; what the rows beyond M hold is undefined.
    """
    rows, width = x.shape
    padded = -(-rows // TOKEN_MULTIPLE) * TOKEN_MULTIPLE
    quantized = x.new_empty((padded, width), dtype=torch.float8_e4m3fn)
    token_scale = x.new_empty((width // activation.GROUP, padded), dtype=torch.float32).t()
    # later releases of vLLM have two more, which only describe the layout of the scales
    more = accepted(op.default, dummy_is_scale_transposed=True, dummy_is_tma_aligned=True)
    largest = activation.FP8_MAX
    op(x, quantized[:rows], token_scale[:rows], activation.GROUP, GROUP_EPS, -largest, largest, False, **more)
    return quantized, token_scale


@functools.cache
def with_triton(device: torch.device) -> bool:
    """Whether Triton's quantizers are used on `device`: they are there, they run and agree with torch's; asked once in
    a process. (Triton compiles at run time: without a C compiler it is installed and yet of no use.)"""
    if device.type != "cuda":
        return False
    capability = describe(device).capability
    if (capability is not None and capability < OLDEST_FOR_TRITON) or not TRITON.found() or TRITON.broken():
        return False
    x = torch.linspace(-3, 5, 7 * 640, device=device).view(7, 640)
    try:
        codes, scale = TRITON.loaded().quantize_tokens(x, "int8", None)
    except Exception:  # whatever a compiler that is not there raises
        return False
    expected, expected_scale = activation.quantize_int8(x)
    return bool((codes == expected).all()) and torch.allclose(scale, expected_scale)
