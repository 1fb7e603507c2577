"""Marlin's layout against a statement of it that shares nothing with ours: the fragments of mma.m16n8k16."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from x2v_quant.formats.int4_group128 import packed, unpacked
from x2v_quant.formats.int4_marlin import pack, pack_scale, unpack, unpack_scale


def as_marlin_reads(words, k_total, n_total):
    """int32 [K/16, 2 N] -> codes [N, K], word by word.

    A warp's 32 threads each take four words: of four neighbouring tiles of 16 (k) x 16 (n), a tile being two mma
    operands of 16 x 8. PTX: thread t holds of such an operand the rows 2 (t % 4), + 1, + 8, + 9 of column t // 4. A
    word is unpacked to pairs of float16, nibbles i and i + 4 making a pair, so the two neighbours in k are four nibbles
    apart.
    """
    codes = torch.full((n_total, k_total), -99)
    for tile_row in range(k_total // 16):
        for position in range(2 * n_total):
            word = int(words[tile_row, position]) & 0xFFFFFFFF
            warp_block, place = divmod(position, 128)
            thread, tile = divmod(place, 4)
            for nibble in range(8):
                upper, pair = divmod(nibble, 4)
                operand, eight = divmod(pair, 2)
                k = 16 * tile_row + 2 * (thread % 4) + 8 * eight + upper
                n = 64 * warp_block + 16 * tile + 8 * operand + thread // 4
                codes[n, k] = (word >> (4 * nibble) & 15) - 8
    return codes


def random_codes(n, k, seed=0):
    return torch.randint(-8, 8, (n, k), generator=torch.Generator().manual_seed(seed)).to(torch.int8)


@pytest.mark.parametrize("n,k", [(64, 16), (64, 48), (192, 32)])
def test_packing_is_what_marlin_reads(n, k):
    codes = random_codes(n, k)
    words = pack(packed(codes))
    assert (words.dtype, tuple(words.shape)) == (torch.int32, (k // 16, 2 * n))
    assert torch.equal(as_marlin_reads(words, k, n), codes.long())


@settings(max_examples=20, deadline=None)
@given(blocks=st.integers(1, 3), groups=st.integers(1, 3), seed=st.integers(0, 2**31))
def test_unpack_and_pack_are_inverse(blocks, groups, seed):
    plain = packed(random_codes(64 * blocks, 128 * groups, seed))
    assert torch.equal(unpack(pack(plain)), plain)
    scale = torch.rand((64 * blocks, groups), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(unpack_scale(pack_scale(scale)), scale)
    assert pack_scale(scale).shape == (groups, 64 * blocks)
    assert unpack(pack(plain)).is_contiguous()
    assert pack_scale(scale).is_contiguous()


@pytest.mark.parametrize("groups", [1, 3])
def test_scales_are_in_the_order_of_the_accumulators(groups):
    """Eight values that a thread reads at once are those of its own columns: of one group, the two columns that a
    thread holds in each of four 8-wide accumulators; of several, the same column of eight 8-wide operands."""
    scale = torch.arange(128 * groups, dtype=torch.float32).view(groups, 128).t().contiguous()
    stored = pack_scale(scale)
    for group in range(groups):
        for position in range(128):
            if groups == 1:
                block, place = divmod(position, 32)
                thread, value = divmod(place, 8)
                column = 32 * block + 8 * (value // 2) + 2 * thread + value % 2
            else:
                block, place = divmod(position, 64)
                thread, value = divmod(place, 8)
                column = 64 * block + 8 * value + thread
            assert stored[group, position] == scale[column, group]


def test_nibbles_are_those_of_a_little_endian_int32_of_compressed_tensors():
    codes = random_codes(5, 64)
    words = torch.zeros((5, 8), dtype=torch.int64)
    for k in range(64):
        words[:, k // 8] |= (codes[:, k].long() + 8) << (4 * (k % 8))
    words = torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)
    assert torch.equal(packed(codes), words.view(torch.uint8))
    assert torch.equal(unpacked(words.view(torch.uint8)), codes)
