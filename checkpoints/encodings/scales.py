"""What the readers of several encodings share: checked scales, and the padding of tensor-core layouts."""

import math

import torch
from comfy_kitchen.float_utils import from_blocked, roundup, to_blocked

from ...formats.fp8_block128 import BLOCK
from .encoding import Shapes, TensorRole, WrongValueError

FLOATS = ("float32", "bfloat16", "float16", "float64")
SCALES = ("weight_scale", "scale_weight", "weight_scale_inv")
INPUT_SCALES = ("input_scale", "scale_input")

SCALE = TensorRole(SCALES, FLOATS)
OUTPUTS = "static output scales ignored: what the layers give is not quantized"
DYNAMIC = "static input scales ignored: activations are quantized as they come"
IGNORED_OUTPUT = {"output_scale": OUTPUTS}
IGNORED_INPUT = dict.fromkeys(INPUT_SCALES, DYNAMIC) | IGNORED_OUTPUT

# what is wrong with a scale, and with one over codes that are not zero
NO_SCALE = "has a scale that is negative or not a number"
SILENCED = "is zero for weights that are not zero: they would be lost"

# of the layout that tensor cores take block scales in: tiles of 128 rows and 4 blocks
TILE_ROWS, TILE_BLOCKS = 128, 4


def is_per_row(size: tuple[int, ...], n: int, k: int) -> bool:
    """Whether a scale of shape `size` can only be one for each of n rows, or one for all: writers leave out dimensions
    of 1, add some, or turn them. What could be scales of blocks is none."""
    blocks = len(size) > 1 and size[0] == 1 and size == (math.ceil(n / BLOCK), math.ceil(k / BLOCK)) != (1, 1)
    return not (blocks and n > 1) and (same_but_ones(size, (n,)) or same_but_ones(size, ()))


def same_but_ones(size: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether two shapes are the same but for dimensions of 1."""
    return [count for count in size if count != 1] == [count for count in wanted if count != 1]


def scale(tensor: torch.Tensor) -> torch.Tensor:
    """Float32 and contiguous. Raises WrongValueError for one that is negative or not a number."""
    values = tensor.to(torch.float32).contiguous()
    if not bool((values.isfinite() & (values >= 0)).all()):
        raise WrongValueError("scale", NO_SCALE)
    return values


def signed_scale(tensor: torch.Tensor, role: str = "scale") -> torch.Tensor:
    """As `scale`, for int4: some quantizers reach -8 with the largest value of a group and give it a negative scale.
    role: "scale", or "zeros" for zero points."""
    values = tensor.to(torch.float32).contiguous()
    if not bool(values.isfinite().all()):
        what = "zero point" if role == "zeros" else "scale"
        raise WrongValueError(role, f"has a {what} that is not a number")
    return values


def one_scale(tensor: torch.Tensor, role: str) -> torch.Tensor:
    """A positive float32 of shape (). Raises WrongValueError for anything else."""
    value = tensor.to(torch.float32).reshape(())
    if not bool(value.isfinite() & (value > 0)):
        raise WrongValueError(role, f"is {float(value):g}, not a positive number")
    return value


def tiled(rows: int, blocks: int) -> tuple[int, int]:
    """The shape of block scales in the tensor cores' order."""
    return roundup(rows, TILE_ROWS), roundup(blocks, TILE_BLOCKS)


def block_scales(tensor: torch.Tensor, rows: int, blocks: int, first_wrong: int, cause: str = NO_SCALE) -> torch.Tensor:
    """One byte per scale in the tensor cores' order, as uint8 of shape `tiled(rows, blocks)`; what lies outside `rows`
    and `blocks`, which some writers leave undefined, is zero.

    Raises WrongValueError with `cause` for a byte from `first_wrong` on: what is no number, and what is negative, is
    there.
    """
    stored = tensor.contiguous().view(torch.uint8).reshape(tiled(rows, blocks))
    plain = plain_block_scales(tensor, rows, blocks, first_wrong, cause)
    return stored if plain.shape == stored.shape else to_blocked(plain, flatten=False)


def plain_block_scales(
    tensor: torch.Tensor, rows: int, blocks: int, first_wrong: int, cause: str = NO_SCALE
) -> torch.Tensor:
    """As `block_scales`, uint8 [rows, blocks] in rows of the weight."""
    stored = tensor.contiguous().view(torch.uint8).reshape(tiled(rows, blocks))
    plain = from_blocked(stored, rows, blocks)
    if bool((plain >= first_wrong).any()):
        raise WrongValueError("scale", cause)
    return plain


def padded(codes: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """`codes` (one byte each) with zeros up to rows x columns; itself if there is nothing to add."""
    if codes.shape == (rows, columns):
        return codes
    result = torch.zeros((rows, columns), dtype=torch.uint8, device=codes.device)
    result[: codes.shape[0], : codes.shape[1]] = codes.view(torch.uint8)
    return result.view(codes.dtype)


def unpadded(stored: tuple[int, int], shapes: Shapes, multiple: int) -> tuple[int, int] | None:
    """(N, K) of a layer that ComfyUI stores padded to multiples: the marker tells both, the bias N. None if the marker
    contradicts what is stored."""
    rows, columns = stored
    if "marker" in shapes:
        n, k = shapes["marker"]
        return (n, k) if rows in (n, roundup(n, multiple)) and columns in (k, roundup(k, multiple)) else None
    bias = shapes.get("bias", ())
    fits = len(bias) == 1 and roundup(bias[0], multiple) == rows
    return (bias[0] if fits else rows), columns
