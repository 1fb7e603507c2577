"""Activations quantized for the libraries: by their own operators in one layout, or, where they bring none, by the
fastest that is here: Triton's on a GPU, else torch's."""

import functools

import torch

from ..formats.fp8_block128 import BLOCK
from ..formats.int8_convrot import name_of
from . import activation
from .declare import Quantizer
from .machine import describe
from .ops import groups_like, tensor_like, tokens_like
from .shared_objects import accepted
from .triton import TRITON

# as LightX2V and vLLM call it: below this a group of channels counts as zero
GROUP_EPS = 1e-10
# Hopper's block-scaled kernels read the scales of four tokens at once
TOKEN_MULTIPLE = 4
OLDEST_FOR_TRITON = (8, 0)
IN_TORCH = {"int8": activation.quantize_int8, "fp8": activation.quantize_fp8}
# of the check in `with_triton`
ROTATION = 64
CODES = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}


def per_token(
    x: torch.Tensor, kind: str, pad_rows: int = 1, pre_quant_scale: torch.Tensor | None = None, rotation: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] float (M > 0), `kind` "int8" or "fp8" -> codes [M', K], scale float32 [M', 1], both contiguous; M' is M
    rounded up to a multiple of pad_rows, the rows beyond M are zero. pre_quant_scale float32 [K] multiplies x first.
    rotation: of int8, how many channels are then rotated together, 0 for none."""
    if with_triton(x.device):
        codes, scale = TRITON.loaded().quantize_tokens(x, kind, pre_quant_scale, rotation)
        return _padded(codes, pad_rows), _padded(scale, pad_rows)
    if rotation:
        return activation.quantize_int8(x, pad_rows, pre_quant_scale, rotation)
    return IN_TORCH[kind](x, pad_rows, pre_quant_scale)


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


def tokens(kind: str, pad_rows: int = 1) -> Quantizer:
    """`per_token` for a declaration."""

    def compute(x, pre_quant_scale=None):
        return per_token(x, kind, pad_rows, pre_quant_scale)

    return Quantizer(kind, compute, lambda x: tokens_like(x, CODES[kind], pad_rows), smooths=True)


def rotated_tokens(group: int, pad_rows: int = 1) -> Quantizer:
    """`per_token` of int8 for a declaration, of x whose groups of so many channels are rotated in float32 first, as
    those of the weight's codes were."""

    def compute(x, pre_quant_scale=None):
        return per_token(x, "int8", pad_rows, pre_quant_scale, group)

    return Quantizer(name_of(group), compute, lambda x: tokens_like(x, torch.int8, pad_rows), smooths=True)


def token_groups(pad_rows: int = 1) -> Quantizer:
    """`per_token_groups` for a declaration."""
    return Quantizer("fp8-group128", lambda x: per_token_groups(x, pad_rows), lambda x: groups_like(x, pad_rows))


def _static(x, input_scale):
    codes, scale = activation.quantize_fp8_static(x, input_scale)
    return codes, scale.clone() if scale is input_scale else scale


STATIC = Quantizer("fp8-static", _static, tensor_like, ("input_scale",))


def per_token_groups_by(op, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x [M, K] contiguous, K a multiple of 128 -> codes float8_e4m3fn [M', K] and scale float32 [M', K / 128] with
    contiguous columns. `op`: vLLM's or sgl-kernel's quantizer, whose first eight arguments are the same.

    M' is M rounded up to TOKEN_MULTIPLE; what the rows beyond M hold is undefined.
    """
    rows = x.shape[0]
    quantized, token_scale = groups_like(x, TOKEN_MULTIPLE)
    # later releases of vLLM have two more, which only describe the layout of the scales
    more = accepted(op.default, dummy_is_scale_transposed=True, dummy_is_tma_aligned=True)
    largest = activation.FP8_MAX
    op(x, quantized[:rows], token_scale[:rows], BLOCK, GROUP_EPS, -largest, largest, False, **more)
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
        rotated, rotated_scale = TRITON.loaded().quantize_tokens(x, "int8", None, ROTATION)
    except Exception:  # whatever a compiler that is not there raises
        return False
    expected, expected_scale = activation.quantize_int8(x)
    near, near_scale = activation.quantize_int8(x, rotation=ROTATION)
    same = bool((codes == expected).all()) and torch.allclose(scale, expected_scale)
    # rotated values are sums in another order, which may fall on the other side of a half
    return same and bool(((rotated - near).abs() <= 1).all()) and torch.allclose(rotated_scale, near_scale)
