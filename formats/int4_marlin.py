"""int4-g128-marlin: int4-g128 in the order that Marlin's kernels read, int32 [K/16, 2 N] and scales [K/128, N].

The layout is IST-DASLab's (marlin/__init__.py, `_get_perms` and `Layer.pack`), which vLLM's gptq_marlin_repack writes
too. A row of words covers 16 input channels; in it, 128 words cover 64 output channels. With

    n = 64 nb + 16 j + 8 b + c        k = 16 kb + 8 h + 2 t + p

(b, h, p of two values, j and t of four, c of eight) the code of (k, n) is nibble 4 p + 2 b + h, counted from the
lowest, of the word [kb, 128 nb + 16 c + 4 t + j]. Scales of 64 output channels are transposed as a matrix of 8 x 8; if
there is only one group, of 32 as [4, 4, 2] with the first two axes exchanged.
"""

import torch

from .format import SCALED, Format
from .int4_group128 import GROUP, Int4Group128Layout
from .layout import ScaledLayout, fresh, register

N_MULTIPLE, K_MULTIPLE = 64, GROUP


@register
class Int4MarlinLayout(ScaledLayout):
    NAME = "X2VInt4Marlin"
    MAX = Int4Group128Layout.MAX

    @classmethod
    def quantize(cls, tensor, scale=None, **kwargs):
        """[N, K] float weight -> (codes int32 [K/16, 2 N], Params with scale [K/128, N]), as int4-g128 does.

        scale: as int4-g128 takes it, but in this layout's order. Raises ValueError unless N % 64 == 0 and
        K % 128 == 0.
        """
        rows, columns = tensor.shape
        if rows % N_MULTIPLE or columns % K_MULTIPLE:
            raise ValueError(
                f"Marlin's layout wants out_features to be a multiple of {N_MULTIPLE} and in_features of {K_MULTIPLE}, "
                f"this layer has {rows} and {columns}"
            )
        if not fresh(scale):
            scale = unpack_scale(torch.as_tensor(scale).expand(columns // GROUP, rows))
        codes, plain = Int4Group128Layout.quantize(tensor, scale, **kwargs)
        params = cls.Params(scale=pack_scale(plain.scale), orig_dtype=plain.orig_dtype, orig_shape=plain.orig_shape)
        return pack(codes), params

    @classmethod
    def dequantize(cls, qdata, params):
        """Into the order of int4-g128, then as that format does."""
        plain = Int4Group128Layout.Params(unpack_scale(params.scale), params.orig_dtype, params.orig_shape)
        return Int4Group128Layout.dequantize(unpack(qdata), plain)


def pack(codes: torch.Tensor) -> torch.Tensor:
    """int4-g128's uint8 [N, K/2] -> int32 [K/16, 2 N]."""
    rows, columns = codes.shape[0], codes.shape[1] * 2
    tiles = codes.view(rows // 64, 4, 2, 8, columns // 16, 2, 4)  # nb, j, b, c, kb, h, t: a byte is a pair of p
    first, second = tiles.permute(5, 4, 0, 3, 6, 1, 2)  # each [kb, nb, c, t, j, b]
    words = torch.stack(_exchanged(first, second), dim=-2)  # ..., p, b
    return words.view(columns // 16, rows * 8).view(torch.int32)


def unpack(words: torch.Tensor) -> torch.Tensor:
    """The inverse of `pack`."""
    blocks, rows = words.shape[0], words.shape[1] // 2
    tiles = words.view(torch.uint8).view(blocks, rows // 64, 8, 4, 4, 2, 2)  # kb, nb, c, t, j, p, b
    pair = torch.stack(_exchanged(tiles[..., 0, :], tiles[..., 1, :]))  # h, kb, nb, c, t, j, b
    return pair.permute(2, 5, 6, 3, 1, 0, 4).reshape(rows, blocks * 8)


def _exchanged(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two bytes (low, high nibble) -> one of both low nibbles, one of both high ones; its own inverse."""
    return (first & 0x0F) | (second << 4), (first >> 4) | (second & 0xF0)


def pack_scale(scale: torch.Tensor) -> torch.Tensor:
    """int4-g128's [N, G] -> [G, N] in Marlin's order."""
    groups = scale.t()
    if groups.shape[0] == 1:
        return groups.reshape(1, -1, 4, 4, 2).transpose(2, 3).reshape(groups.shape)
    return groups.reshape(groups.shape[0], -1, 8, 8).transpose(2, 3).reshape(groups.shape)


def unpack_scale(scale: torch.Tensor) -> torch.Tensor:
    """The inverse of `pack_scale`: both permutations are their own."""
    return pack_scale(scale.t()).t().contiguous()


NAME = "int4-g128-marlin"
MULTIPLES = (N_MULTIPLE, K_MULTIPLE)
FORMATS = (Format(NAME, Int4MarlinLayout.NAME, SCALED, "float", NAME, "int4-g128", multiples=MULTIPLES),)
