"""mxfp4 and mxfp6: a power of two (e8m0) per 32 input channels.

LightX2V's scales are in the tensor cores' order (CUTLASS' tiles of 128 x 4), padded to whole tiles; its mxfp6 has four
codes in three bytes. In this pack's files both tensors are as they are in memory, which a marker tells.
"""

from collections.abc import Callable
from functools import partial

import torch
from comfy_kitchen.float_utils import to_blocked

from ...formats.mx import BLOCK, from_stream, to_stream
from .encoding import LIGHTX2V, X2V, Encoding, Shapes, TensorRole, unchanged
from .mxfp8 import BEYOND, BITS, BYTES, SCALES_PER_INT32, TOO_LARGE, WORDS
from .scales import WrongValueError, plain_block_scales, tiled

Codes = Callable[[torch.Tensor], torch.Tensor]


def shape(shapes: Shapes, bits: int, order: Callable[[int, int], tuple[int, int]]) -> tuple[int, int] | None:
    """order: (N, K / 32) -> the shape of the scales."""
    n, columns = shapes["codes"]
    k, rest = divmod(columns * 8, bits)
    return (n, k) if rest == k % BLOCK == 0 and shapes["scale"] == order(n, k // BLOCK) else None


def tiled_words(rows: int, blocks: int) -> tuple[int, int]:
    """As `tiled`, four scales in an int32."""
    height, width = tiled(rows, blocks)
    return height, width // SCALES_PER_INT32


def unpack_tiled(tensors, shape, codes: Codes):
    n, k = shape
    scale = plain_block_scales(tensors["scale"], n, k // BLOCK, TOO_LARGE, BEYOND)
    return {"codes": codes(tensors["codes"].contiguous()), "scale": scale.contiguous()}


def pack_tiled(tensors, shape, codes: Codes):
    scale = to_blocked(tensors["scale"], flatten=False)
    return {"codes": codes(tensors["codes"]), "scale": scale.view(torch.float8_e8m0fnu)}


def unpack(tensors, shape):
    if bool((tensors["scale"] >= TOO_LARGE).any()):
        raise WrongValueError("scale", BEYOND)
    return {role: tensor.contiguous() for role, tensor in tensors.items()}


def _encodings(name: str, bits: int, read: Codes, written: Codes) -> tuple[Encoding, ...]:
    # LightX2V's kernels take scales of the type e8m0
    tiles, words, plain = (partial(shape, bits=bits, order=order) for order in (tiled, tiled_words, lambda *size: size))
    unpacked = partial(unpack_tiled, codes=read)
    packed = partial(pack_tiled, codes=written)
    beside = TensorRole(("weight_scale",), ("uint8",))
    return (
        Encoding(name, {"codes": BITS, "scale": BYTES}, tiles, unpacked, packed, (LIGHTX2V,)),
        Encoding(name, {"codes": BITS, "scale": WORDS}, words, unpacked),
        Encoding(
            name, {"codes": BITS, "scale": beside}, plain, unpack, unchanged, (X2V,), marks=(name,), unmarked=False
        ),
    )


ENCODINGS = (
    *_encodings("mxfp4", 4, torch.Tensor.contiguous, torch.Tensor.contiguous),
    *_encodings("mxfp6", 6, from_stream, to_stream),
)
