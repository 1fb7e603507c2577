"""Layers that a file has apart and ComfyUI in one: their rows, their scales, and what does not go together."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kinds import encoding_of
from safetensors.torch import load_file, save_file

from x2v_quant.benchmarks.quantize import KINDS
from x2v_quant.checkpoints import CheckpointError, open_checkpoint
from x2v_quant.common.row_slice import RowSlice

# enough for every format to be told by its shapes
K = 512
PIECES = [f"noise_refiner.0.attention.to_{one}" for one in "qkv"]
JOINED = "noise_refiner.0.attention.qkv"
# with the pieces it makes a file one of Z-Image's
SIGN = {"all_final_layer.2-1.linear.bias": torch.zeros(3)}


def weights(*rows, amax=None):
    """A weight for each of PIECES, with all their largest values the same if `amax` is given."""
    generator = torch.Generator().manual_seed(0)
    found = [torch.randn((count, K), generator=generator).clamp(-3, 3) for count in rows]
    for weight in found if amax else []:
        weight[0, 0] = amax
    return found


@pytest.fixture
def z_image(tmp_path):
    """z_image(pieces) -> checkpoint of a file with `pieces` (layer -> its tensors by the end of their names) alone."""

    def make(pieces):
        tensors = {f"{layer}.{end}": part for layer, parts in pieces.items() for end, part in parts.items()}
        save_file({**SIGN, **tensors}, tmp_path / "z.safetensors")
        return open_checkpoint(tmp_path / "z.safetensors")

    return make


def stored(kind, *given):
    return {layer: dict(KINDS[kind](weight)) for layer, weight in zip(PIECES, given, strict=True)}


def dequantized(loaded):
    return loaded.wrap(torch.float32).dequantize()


def joined(checkpoint):
    checkpoint.require("dit")
    return checkpoint.load().quantized


@pytest.mark.parametrize("kind", KINDS)
def test_the_rows_of_the_joined_layer_are_those_of_its_pieces(kind, z_image, tmp_path):
    given = weights(3 * K, K, 2 * K, amax=3.0)
    found = joined(z_image(stored(kind, *given)))
    assert found.keys() == {JOINED}
    save_file({f"a.{end}": part for end, part in KINDS[kind](given[1]).items()}, tmp_path / "one.safetensors")
    alone = open_checkpoint(tmp_path / "one.safetensors").load().quantized["a"]
    whole = dequantized(found[JOINED])
    assert whole.shape == found[JOINED].shape == (6 * K, K)
    assert torch.equal(whole[3 * K : 4 * K], dequantized(alone))
    assert (whole - torch.cat(given)).norm() < 0.2 * torch.cat(given).norm()
    assert all(tensor.is_contiguous() for tensor in found[JOINED].tensors.values())


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_stored_together_are_not_torn(kind, z_image):
    """A first piece of 64 rows ends in the middle of a block of 128."""
    given, together = weights(64, 64, 64, amax=3.0), encoding_of(kind).rows
    checkpoint = z_image(stored(kind, *given))
    if 64 % together == 0:
        whole = dequantized(joined(checkpoint)[JOINED])
        assert whole.shape == (192, K)
        assert (whole - torch.cat(given)).norm() < 0.2 * torch.cat(given).norm()
        return
    (problem,) = checkpoint.problems
    assert problem.key == f"{PIECES[0]}.weight"
    assert f"which is not a multiple of {together}" in problem.cause and "int8 or fp8" in problem.remedy


@settings(max_examples=30, deadline=None)
@example(rows=[1, 1, 1], kind="fp8")
@given(rows=st.lists(st.integers(1, 40), min_size=3, max_size=3), kind=st.sampled_from(["int8", "fp8"]))
def test_pieces_of_any_height_can_be_joined_by_row(rows, kind, tmp_path_factory):
    given = weights(*rows)
    tensors = {f"{layer}.{end}": part for layer, parts in stored(kind, *given).items() for end, part in parts.items()}
    path = tmp_path_factory.mktemp("rows") / "z.safetensors"
    save_file({**SIGN, **tensors}, path)
    expected = [
        tensors[f"{layer}.weight"].float() * tensors[f"{layer}.weight_scale"].float().reshape(-1, 1) for layer in PIECES
    ]
    assert torch.equal(dequantized(joined(open_checkpoint(path))[JOINED]), torch.cat(expected))


def test_nvfp4_with_a_scale_for_each_piece_is_refused(z_image):
    small, large, other = weights(K, K, K)
    checkpoint = z_image(stored("nvfp4", small, 4 * large, other))
    assert any("is refused unless those that become one have the same scale" in note for note in checkpoint.notes)
    words = rf"z.safetensors: {PIECES[1]}.weight has another scale than {PIECES[0]}, .* int8 or fp8"
    with pytest.raises(CheckpointError, match=words):
        joined(checkpoint)


def test_one_scale_for_each_piece_becomes_one_for_each_row(z_image):
    pieces = stored("fp8-tensor", *weights(K, K, K))
    for index, parts in enumerate(pieces.values()):
        parts["weight_scale"] = torch.tensor(1.0 + index)
        parts["input_scale"] = torch.tensor(0.5)
    loaded = joined(z_image(pieces))[JOINED]
    assert loaded.tensors["scale"].flatten().tolist() == [1.0] * K + [2.0] * K + [3.0] * K
    assert loaded.tensors["input_scale"].tolist() == [0.5]


def test_input_scales_that_differ_are_refused(z_image):
    pieces = stored("fp8-tensor", *weights(K, K, K))
    for index, parts in enumerate(pieces.values()):
        parts["input_scale"] = torch.tensor(0.5 + index)
    with pytest.raises(CheckpointError, match=rf"{PIECES[1]}.weight has another input_scale than {PIECES[0]}"):
        joined(z_image(pieces))


def _plain(pieces):
    pieces[PIECES[1]] = {"weight": torch.zeros(K, K)}


def _other_format(pieces):
    pieces[PIECES[2]] = dict(KINDS["fp8"](torch.ones(K, K)))


def _wider(pieces):
    pieces[PIECES[1]] = dict(KINDS["int8"](torch.ones(K, 2 * K)))


def _both_namings(pieces):
    pieces[JOINED] = dict(KINDS["int8"](torch.ones(3 * K, K)))


@pytest.mark.parametrize(
    "change,layer,words",
    [
        (_plain, PIECES[1], f"is not quantized, {PIECES[0]} is int8-channel: ComfyUI has both in one layer, {JOINED}"),
        (_other_format, PIECES[2], f"is fp8-channel, {PIECES[0]} is int8-channel: ComfyUI has both in one layer"),
        (_wider, PIECES[1], f"has {2 * K} input channels, {PIECES[0]} has {K}"),
        (_both_namings, PIECES[0], f"and {JOINED}.weight are both {JOINED}.weight in ComfyUI's model"),
    ],
)
def test_pieces_that_do_not_go_together_are_a_problem(change, layer, words, z_image):
    pieces = stored("int8", *weights(K, K, K))
    change(pieces)
    (problem,) = z_image(pieces).problems
    assert problem.key == f"{layer}.weight"
    assert words in problem.cause


@settings(max_examples=60, deadline=None)
@given(
    tiles=st.integers(2, 6),
    borders=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6)), min_size=1, max_size=3),
    kind=st.sampled_from(["int8", "fp8", "fp8-tensor", "block128", "mxfp8", "nvfp4"]),
)
def test_rows_that_are_cut_off_are_those_of_the_whole(tiles, borders, kind, tmp_path_factory):
    """In tiles of 128 rows, which every format allows."""
    slices = [RowSlice(start, tiles, stop - start) for start, stop in borders if start < stop <= tiles]
    (given,) = weights(128 * tiles, amax=3.0)
    path = tmp_path_factory.mktemp("cut") / "one.safetensors"
    save_file({f"a.{end}": part for end, part in KINDS[kind](given).items()}, path)
    loaded = open_checkpoint(path).load().quantized["a"]
    if slices:
        whole, part = dequantized(loaded), loaded.cut(slices)
        assert torch.equal(dequantized(part), torch.cat([whole[slice(*rows.span(128 * tiles))] for rows in slices]))
    assert (loaded.cut([RowSlice(0, 2 * tiles)]) is None) == (64 % encoding_of(kind).rows > 0)


def test_a_checkpoint_is_read_in_pieces(z_image):
    """Headers name the layers as the file does; ComfyUI's names come with the weights."""
    checkpoint = z_image(stored("int8", *weights(K, K, K)))
    assert checkpoint.layers.keys() == set(PIECES)
    assert checkpoint.formats == {"int8-channel": 3}
    assert checkpoint.notes == ["3 int8-channel layers become 1 at load, as ComfyUI has them"]
    assert load_file(checkpoint.path).keys() > {f"{piece}.weight" for piece in PIECES}
