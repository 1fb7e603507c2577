"""AutoAWQ's 4 bits: eight codes of an input channel, along the output channels, in an int32 [K, N/8], the zero points
of its groups alike in [K/group, N/8], and scales [K/group, N]: weight = (q - z) * scale.

Of eight output channels those with even numbers come first, from the lowest bits on: 0, 2, 4, 6, 1, 3, 5, 7.
"""

from functools import partial

import torch

from ...formats.awq_w4a16 import GROUPS, name_of, narrowed
from ...formats.int4_group128 import ZERO
from .encoding import Encoding, TensorRole
from .scales import FLOATS, signed_scale

PER_WORD = 8
# where each of eight channels has its code, counted from the lowest
PLACES = (0, 4, 1, 5, 2, 6, 3, 7)


def shape(shapes, group):
    k, words = shapes["codes"]
    n, groups = words * PER_WORD, k // group
    fits = k % group == 0 and shapes["scale"] == (groups, n) and shapes.get("zeros", (groups, words)) == (groups, words)
    return (n, k) if fits else None


def unpack(tensors, shape):
    codes = nibbles(tensors["codes"], PLACES).t()
    scale = signed_scale(tensors["scale"])
    return {
        "codes": (codes[:, 0::2] | codes[:, 1::2] << 4).contiguous().view(torch.int8),
        **with_zeros(scale, nibbles(tensors["zeros"], PLACES)),
    }


def nibbles(words: torch.Tensor, places: tuple[int, ...]) -> torch.Tensor:
    """int32 [rows, W] -> uint8 [rows, 8 W], of each eight the one at each of `places`, counted from the lowest."""
    octets = words.contiguous().view(torch.uint8).view(words.shape[0], -1, PER_WORD // 2)
    both = torch.stack((octets & 0x0F, octets >> 4), dim=-1).flatten(2)
    return both[:, :, list(places)].flatten(1)


def with_zeros(scale: torch.Tensor, zero_points: torch.Tensor) -> dict[str, torch.Tensor]:
    """float32 scale and uint8 zero points among the codes, both [groups, N] -> scale and zeros of awq-w4a16. Exact for
    scales of 16 bits: the product has 15 at most."""
    zeros = scale * (ZERO - zero_points.to(torch.float32))
    return {"scale": narrowed(scale).t().contiguous(), "zeros": narrowed(zeros).t().contiguous()}


TENSORS = {
    "codes": TensorRole(("qweight",), ("int32",)),
    "scale": TensorRole(("scales",), FLOATS),
    "zeros": TensorRole(("qzeros",), ("int32",)),
}
ENCODINGS = tuple(
    Encoding(name_of(group), TENSORS, partial(shape, group=group), unpack, origin="AutoAWQ") for group in GROUPS
)
