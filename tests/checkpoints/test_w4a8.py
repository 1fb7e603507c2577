"""w4a8 in files: every way that ComfyUI stores it, what is refused and in which words."""

import json

import pytest
import torch
import w4a8_vectors as vectors
from older_comfyui import core_rotates_int8
from safetensors.torch import save_file

from x2v_quant.checkpoints import CheckpointError, open_checkpoint
from x2v_quant.checkpoints.encodings import COMFYUI
from x2v_quant.checkpoints.outline import read_outline
from x2v_quant.converting.dialects import layer_tensors
from x2v_quant.formats.w4a8 import MARKER, name_of
from x2v_quant.formats.w4a8_codes import packed, unpacked

N, K = 6, 256
Q = "blocks.0.self_attn.q"


def opened(folder, layer, entry, in_header=False):
    """A file with one layer, marked by `entry` in a tensor or in the header."""
    tensors = {"head.modulation": torch.zeros(1, 2, 8), **{f"{Q}.{end}": tensor for end, tensor in layer.items()}}
    entry, metadata = {"format": MARKER, **entry}, None
    if in_header:
        metadata = {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": {Q: entry}})}
    else:
        tensors[f"{Q}.comfy_quant"] = torch.tensor(list(json.dumps(entry).encode()), dtype=torch.uint8)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors", metadata)
    return open_checkpoint(folder / "model.safetensors")


def read(checkpoint):
    checkpoint.require("dit")
    loaded = checkpoint.load().quantized[Q]
    return loaded.format, loaded.wrap(torch.float32).dequantize()


def told(case):
    return {"convrot_groupsize": vectors.ROTATIONS[case]}


EIGHT_BIT_SCALES = [case for case in vectors.ROTATIONS if case not in ("float32 scales", "6 bits")]


@pytest.mark.parametrize("case", EIGHT_BIT_SCALES)
@pytest.mark.parametrize("in_header", [False, True], ids=["tensor", "header"])
@pytest.mark.parametrize("scales", [torch.float8_e4m3fn, torch.uint8], ids=str)
def test_what_comfy_kitchen_makes_is_read_as_the_same_weight(case, in_header, scales, tmp_path):
    layer = vectors.layer(case)
    layer["weight_s_rel"] = layer["weight_s_rel"].view(scales)
    name, weight = read(opened(tmp_path, layer, told(case), in_header))
    assert name == name_of(vectors.ROTATIONS[case])
    assert torch.equal(weight, vectors.tensors(case)["dequantized"])


@core_rotates_int8
@pytest.mark.parametrize("case,name", [("float32 scales", "int8-convrot-64"), ("6 bits", "int8-convrot")])
def test_what_the_format_has_no_room_for_is_read_as_int8_of_the_same_values(case, name, tmp_path):
    checkpoint = opened(tmp_path, vectors.layer(case), told(case))
    assert any("are read as int8 with the same values" in note for note in checkpoint.notes)
    found, weight = read(checkpoint)
    assert found == name
    torch.testing.assert_close(weight, vectors.tensors(case)["dequantized"], rtol=1e-5, atol=1e-6)


MARKERS = {
    "no group": ({}, "256"),
    "params": ({"params": {"convrot_groupsize": 64, "group_size": 16}}, "64"),
    "digits": ({"convrot_groupsize": "16", "group_size": "16"}, "16"),
    "other tools": ({"convrot": True, "convrot_groupsize": 256, "orig_dtype": "torch.bfloat16"}, "256"),
    "whatever convrot says": ({"convrot": False, "group_size": 16}, "256"),
    "groups of scales": ({"group_size": 32}, "groups of 32"),
    "groups of scales that no one told": ({}, "groups of 32"),
}


@pytest.mark.parametrize("entry,case", MARKERS.values(), ids=MARKERS)
def test_every_marker_is_read(entry, case, tmp_path):
    name, weight = read(opened(tmp_path, vectors.layer(case), entry))
    assert name == name_of(vectors.ROTATIONS[case])
    assert torch.equal(weight, vectors.tensors(case)["dequantized"])


@pytest.mark.parametrize("case", [*vectors.PLAIN, "no table"])
def test_it_is_written_as_it_was_read(case, tmp_path):
    """ComfyUI's tensors, byte for byte, and the marker that it writes."""
    checkpoint = opened(tmp_path, vectors.layer(case), told(case))
    written = layer_tensors(checkpoint.load().quantized[Q], COMFYUI)
    marker = json.loads(bytes(written.pop("comfy_quant").tolist()))
    assert marker == {"format": MARKER, "group_size": 16, "convrot_groupsize": vectors.ROTATIONS[case]}
    expected = vectors.layer(case)
    assert written.keys() == expected.keys()
    for end, tensor in expected.items():
        assert written[end].dtype == tensor.dtype
        assert torch.equal(written[end].view(torch.uint8), tensor.view(torch.uint8))


def without(*ends, **changed):
    return {end: tensor for end, tensor in {**vectors.layer("256"), **changed}.items() if end not in ends}


TOO_FEW = "has no {}, which w4a8 layers have"
WRONG = {
    "rotation": (without(), {"convrot_groupsize": 1024}, "is rotated in groups of 1024 (convrot_groupsize), not of 16"),
    "rotation in words": (without(), {"convrot_groupsize": "wide"}, "is rotated in groups of wide"),
    "fine groups": (without(), {"group_size": 8}, "has scales for groups of 8 (group_size), not of a multiple of 16"),
    "entry": (without(), {"zero_point": 3}, "has a marker with the unknown entry 'zero_point'"),
    "no scale": (without("weight_s_rel"), {}, TOO_FEW.format("weight_s_rel")),
    "no row scale": (without("weight_s_channel"), {}, TOO_FEW.format("weight_s_channel")),
    "correction": (
        without(weight_correction=torch.zeros(16, N)),
        {},
        "is part of a quantized layer in a format that is not known here",
    ),
    "table": (
        without(weight_codebook=torch.zeros(8)),
        {},
        "does not go with the other tensors of its layer",
    ),
    "width": (without(weight=torch.zeros(N, 100, dtype=torch.int8)), {}, "does not go with the other tensors"),
    "type": (without(weight=torch.zeros(N, K // 2, dtype=torch.uint8)), {}, "is uint8 but marked as w4a8"),
}


@pytest.mark.parametrize("layer,entry,words", WRONG.values(), ids=WRONG)
def test_what_is_no_such_layer_is_refused_by_name(layer, entry, words, tmp_path):
    (problem,) = opened(tmp_path, layer, entry).problems
    assert problem.key.startswith(f"{Q}.weight")
    assert words in problem.cause


VALUES = {
    "NaN scale": ("weight_s_rel", torch.full((N, 16), 0x7F, dtype=torch.uint8), "negative or not a number"),
    "negative scale": ("weight_s_rel", torch.full((N, 16), 0x80 | 0x38, dtype=torch.uint8), "negative or not a number"),
    "NaN row": ("weight_s_channel", torch.full((N,), torch.nan), "negative or not a number"),
    "large rows": ("weight_s_channel", torch.full((N,), 127.0), "looks like the reciprocal of a scale"),
    "NaN level": ("weight_codebook", torch.full((16,), torch.nan), "has a level that is not a number"),
    "rows of zero": ("weight_s_channel", torch.zeros(N), "weight_s_channel is zero for weights that are not zero"),
    "one row of zero": (
        "weight_s_channel",
        torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0, 1.0]) * 1e-3,
        "weight_s_channel is zero for weights that are not zero",
    ),
    "levels of zero": ("weight_codebook", torch.zeros(16), "weight_codebook has levels up to 0, of which no scale"),
    "tiny levels": ("weight_codebook", torch.linspace(-1e-3, 1e-3, 16), "has levels up to 0.001, of which no scale"),
    "huge levels": ("weight_codebook", torch.linspace(-1e6, 1e6, 16), r"has levels up to 1e\+06, of which no scale"),
    "zeros": ("weight_s_rel", torch.zeros((N, 16), dtype=torch.uint8), "is zero for weights that are not zero"),
}


@pytest.mark.parametrize("end,tensor,words", VALUES.values(), ids=VALUES)
def test_values_that_no_weight_has_are_refused(end, tensor, words, tmp_path):
    checkpoint = opened(tmp_path, {**vectors.layer("256"), end: tensor}, {})
    assert checkpoint.problems == []
    with pytest.raises(CheckpointError, match=words):
        checkpoint.load()


def test_a_quiet_group_has_a_scale_of_zero_and_is_read(tmp_path):
    """Where its row is not lost with it."""
    layer = vectors.layer("quiet")
    assert (layer["weight_s_rel"].view(torch.uint8) == 0).any()
    _, weight = read(opened(tmp_path, layer, told("quiet")))
    assert torch.equal(weight, vectors.tensors("quiet")["dequantized"])


@pytest.mark.parametrize("case", ["256", "groups of 32", "6 bits", "float32 scales"])
def test_a_scale_of_zero_over_all_of_a_row_is_refused(case, tmp_path):
    layer = vectors.layer(case)
    layer["weight_s_rel"] = layer["weight_s_rel"].clone()
    layer["weight_s_rel"].view(torch.uint8 if layer["weight_s_rel"].element_size() == 1 else torch.int32)[1] = 0
    with pytest.raises(CheckpointError, match="is zero for weights that are not zero"):
        opened(tmp_path, layer, told(case)).load()


@pytest.mark.parametrize("seed", range(3))
def test_a_table_in_any_order_means_the_same_weight_and_rises(seed, tmp_path):
    """Rounding to the nearest, as for a LoRA, looks levels up by bisection."""
    layer = vectors.layer("256")
    order = torch.randperm(16, generator=torch.Generator().manual_seed(seed))
    nibbles = order.argsort().to(torch.uint8)[unpacked(layer["weight"]).int()]
    layer |= {"weight": packed(nibbles), "weight_codebook": layer["weight_codebook"][order]}
    checkpoint = opened(tmp_path, layer, {})
    stored = checkpoint.load().quantized[Q]
    assert bool((stored.tensors["codebook"].diff() > 0).all())
    assert torch.equal(stored.wrap(torch.float32).dequantize(), vectors.tensors("256")["dequantized"])
    assert read_outline(checkpoint).problems == []


SIX_BITS = {"weight_s_channel": torch.full((N,), 1e-3)}


def six_bits(columns, group):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 256, (N, columns * 6 // 8), generator=generator, dtype=torch.uint8).view(torch.int8)
    scales = torch.ones((N, columns // group)).to(torch.float8_e4m3fn)
    return {"weight": codes, "weight_s_rel": scales, **SIX_BITS}


@core_rotates_int8
@pytest.mark.parametrize("entry", [{"group_size": 32}, {}], ids=["told", "not told"])
@pytest.mark.parametrize("columns,group", [(512, 32), (1024, 32), (512, 64)])
def test_three_bytes_are_four_codes_of_6_bits_and_not_six_of_4(columns, group, entry, tmp_path):
    """As 4 bits K would be half as much again, in groups of 48 or 96, and every weight noise."""
    entry = dict.fromkeys(entry, group)
    checkpoint = opened(tmp_path, six_bits(columns, group), entry)
    assert checkpoint.problems == []
    assert checkpoint.load().quantized[Q].shape == (N, columns)


@pytest.mark.parametrize("told_size", [16, 64])
def test_groups_of_scales_that_the_marker_contradicts_are_refused(told_size, tmp_path):
    (problem,) = opened(tmp_path, vectors.layer("groups of 32"), {"group_size": told_size}).problems
    assert "does not go with the other tensors of its layer" in problem.cause
