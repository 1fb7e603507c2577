"""int8-convrot: int8 codes of a rotated weight, one scale per output channel (ComfyUI's `int8_tensorwise` with
`convrot`), as core stores them.

Every group of input channels is multiplied by a regular Hadamard matrix H, in the weight once and in the activations
before they are quantized. H is symmetric and H H = 1, so the product stays what it was, while an outlier of one channel
is spread over its group. H of 4 is below; H of 4^n is its n-fold Kronecker product / sqrt(4^n).
"""

import functools

import torch

from ..core.features import rotates_int8
from .channel import INT8_GRID
from .core_layout import of_core
from .format import SCALED, Format

NAME = "int8-convrot"
LAYOUT = "X2VInt8ConvRot"
# core's own
CORES = "TensorWiseINT8Layout"
# what core takes where a marker does not say
DEFAULT_GROUP = 256
GROUPS = (DEFAULT_GROUP, 4, 16, 64, 1024, 4096)
H4 = ((1, 1, 1, -1), (1, 1, -1, 1), (1, -1, 1, 1), (-1, 1, 1, 1))


def name_of(group: int) -> str:
    """The format with groups of so many input channels, one of GROUPS."""
    return NAME if group == DEFAULT_GROUP else f"{NAME}-{group}"


@functools.cache
def hadamard(size: int, device: torch.device) -> torch.Tensor:
    """float32 [size, size], size a power of 4 from 4 on."""
    smallest = torch.tensor(H4, dtype=torch.float32, device=device)
    result = smallest
    while len(result) < size:
        result = torch.kron(result, smallest)
    return result / size**0.5


def rotated(values: torch.Tensor, group: int) -> torch.Tensor:
    """float32 [M, K] -> each group of channels times H, float32 [M, K]; twice is once nothing. K is a multiple of
    `group`."""
    # contiguous, so that the same values give the same sums
    return (values.contiguous().unflatten(1, (-1, group)) @ hadamard(group, values.device)).flatten(1)


def rotated_in_steps(values: torch.Tensor, group: int) -> torch.Tensor:
    """As `rotated`, but for the order of the sums, which for weights is comfy-kitchen's: a CPU is faster for it."""
    outer = _outer(group)
    if outer == 1 or values.device.type != "cpu":
        return rotated(values, group)
    values, inner = values.contiguous(), group // outer
    result = values.view(-1, inner) @ hadamard(inner, values.device)
    return (hadamard(outer, values.device) @ result.view(-1, outer, inner)).view(values.shape)


def _outer(group: int) -> int:
    """H of `group` is the Kronecker product of H of this size and H of the rest: a CPU multiplies faster by the two, 16
    and 16 for 256. Up to 64 it is faster at once."""
    digits = group.bit_length() // 2
    return 4 ** (digits // 2) if digits > 3 else 1


def _format(group: int) -> Format:
    name, rotation = name_of(group), {"convrot": True, "convrot_groupsize": group}
    # each layer gets the group that divides its K
    others = {"multiples": (1, min(GROUPS)), "settings": rotation, "options": {"per_channel": True}}
    return Format(name, LAYOUT, SCALED, name, "int8_tensorwise", NAME, grid=INT8_GRID, rotation=group, **others)


if rotates_int8():
    of_core(LAYOUT, CORES)
FORMATS = tuple(map(_format, GROUPS)) if rotates_int8() else ()
