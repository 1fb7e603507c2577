"""Activations quantized for the libraries: by their own operators in one layout, or, where they bring none, by the
fastest that is here: Triton's on a GPU, else torch's."""

import functools

import torch

from ..machine import describe
from . import activation
from .adapter import accepted
from .triton import TRITON

# as LightX2V and vLLM call it: below this a group of channels counts as zero
GROUP_EPS = 1e-10
# Hopper's block-scaled kernels read the scales of four tokens at once
TOKEN_MULTIPLE = 4
OLDEST_FOR_TRITON = (8, 0)
IN_TORCH = {"int8": activation.quantize_int8, "fp8": activation.quantize_fp8}


def per_token(x: torch.Tensor, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] float (M > 0), `kind` "int8" or "fp8" -> codes [M, K], scale float32 [M, 1], both contiguous."""
    if _with_triton(x.device):
        return TRITON.loaded().quantize_tokens(x, kind)
    return IN_TORCH[kind](x)


def per_token_groups(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] float (M > 0) -> codes float8_e4m3fn [M, K], scale float32 [M, ceil(K / 128)], whose columns are
    contiguous: the scales of one group of channels lie side by side."""
    if _with_triton(x.device):
        codes, scale = TRITON.loaded().quantize_token_groups(x)
        return codes, scale.t()
    codes, scale = activation.quantize_fp8_group128(x)
    return codes, scale.t().contiguous().t()


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
def _with_triton(device: torch.device) -> bool:
    if device.type != "cuda":
        return False
    capability = describe(device).capability
    return (capability is None or capability >= OLDEST_FOR_TRITON) and TRITON.found() and TRITON.broken() is None
