"""Rotated int8 in files: every way to mark it, what is refused and in which words."""

import json

import pytest
import torch
from older_comfyui import core_rotates_int8
from safetensors.torch import save_file

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.formats import FORMATS
from x2v_quant.formats.int8_convrot import name_of

pytestmark = core_rotates_int8
N, K = 24, 1024
Q = "blocks.0.self_attn.q"
ROTATED = {"format": "int8_tensorwise", "convrot": True}


def weight():
    return torch.randn((N, K), generator=torch.Generator().manual_seed(0))


def stored(group=256):
    return FORMATS[name_of(group)].quantize(weight(), torch.float32)


def opened(folder, entry, layer, prefix="", in_header=False):
    """A file with one rotated layer, marked by `entry` in a tensor or in the header."""
    tensors = {
        f"{prefix}head.modulation": torch.zeros(1, 2, 8),
        **{f"{prefix}{Q}.{end}": tensor.contiguous() for end, tensor in layer.items()},
    }
    metadata = None
    if in_header:
        metadata = {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": {f"{prefix}{Q}": entry}})}
    else:
        tensors[f"{prefix}{Q}.comfy_quant"] = torch.tensor(list(json.dumps(entry).encode()), dtype=torch.uint8)
    save_file(tensors, folder / "model.safetensors", metadata)
    return open_checkpoint(folder / "model.safetensors")


def read(checkpoint):
    checkpoint.require("dit")
    loaded = checkpoint.load().quantized[Q]
    return loaded.format, loaded.wrap(torch.float32).dequantize()


MARKERS = {
    "top": ({"convrot": True, "convrot_groupsize": 64}, 64),
    "params": ({"convrot": None, "params": {"convrot": True, "convrot_groupsize": 64}}, 64),
    "apart": ({"convrot": True, "params": {"convrot_groupsize": 16}}, 16),
    "no group": ({"convrot": True}, 256),
    "no group in params": ({"convrot": None, "params": {"convrot": True}}, 256),
    "digits": ({"convrot": True, "convrot_groupsize": "1024"}, 1024),
    "other tools": ({"convrot": True, "convrot_groupsize": 256, "per_row": True, "orig_dtype": "torch.bfloat16"}, 256),
    "smallest": ({"convrot": True, "convrot_groupsize": 4}, 4),
    "group_size": ({"convrot": True, "convrot_groupsize": 16, "group_size": 16}, 16),
}


@pytest.mark.parametrize("entry,group", MARKERS.values(), ids=MARKERS)
@pytest.mark.parametrize("in_header", [False, True], ids=["tensor", "header"])
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_every_marker_is_read(entry, group, in_header, prefix, tmp_path):
    entry = {name: value for name, value in entry.items() if value is not None}
    made = stored(group)
    checkpoint = opened(tmp_path, {"format": "int8_tensorwise", **entry}, made.state_dict("weight"), prefix, in_header)
    name, dequantized = read(checkpoint)
    assert name == name_of(group)
    assert torch.equal(dequantized, made.dequantize())


@pytest.mark.parametrize("shape", [(N, 1), (N,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scales_of_every_shape(shape, dtype, tmp_path):
    made = stored()
    layer = {"weight": made._qdata, "weight_scale": made._params.scale.reshape(shape).to(dtype)}
    _, dequantized = read(opened(tmp_path, ROTATED, layer))
    torch.testing.assert_close(dequantized, made.dequantize(), rtol=0, atol=0.02 if dtype is torch.bfloat16 else 0)


def test_one_scale_for_all_rows(tmp_path):
    made = stored()
    layer = {"weight": made._qdata, "weight_scale": torch.tensor(0.01)}
    _, dequantized = read(opened(tmp_path, ROTATED, layer))
    expected = FORMATS["int8-convrot"].wrap(
        {"codes": made._qdata, "scale": torch.full((N, 1), 0.01)}, torch.float32, (N, K)
    )
    assert torch.equal(dequantized, expected.dequantize())


@pytest.mark.parametrize("entry", [{"convrot": False}, {"convrot": False, "params": {"convrot": True}}, {}])
def test_what_core_takes_for_plain_int8_is_plain(entry, tmp_path):
    checkpoint = opened(tmp_path, {"format": "int8_tensorwise", **entry}, stored().state_dict("weight"))
    assert read(checkpoint)[0] == "int8-channel"


def test_plain_and_rotated_layers_of_several_groups_in_one_file(tmp_path):
    layers = {"self_attn.q": 256, "self_attn.k": 64, "ffn.0": None}
    tensors = {"head.modulation": torch.zeros(1, 2, 8)}
    for end, group in layers.items():
        made = FORMATS["int8-channel" if group is None else name_of(group)].quantize(weight(), torch.float32)
        entry = {
            "format": "int8_tensorwise",
            **({} if group is None else {"convrot": True, "convrot_groupsize": group}),
        }
        tensors |= {f"blocks.0.{end}.{name}": tensor for name, tensor in made.state_dict("weight").items()}
        tensors[f"blocks.0.{end}.comfy_quant"] = torch.tensor(list(json.dumps(entry).encode()), dtype=torch.uint8)
    save_file(tensors, tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path / "model.safetensors")
    assert checkpoint.problems == []
    assert checkpoint.formats == {"int8-channel": 1, "int8-convrot": 1, "int8-convrot-64": 1}


WRONG = {
    "100": ({"convrot_groupsize": 100}, "is rotated in groups of 100 (convrot_groupsize), not of 4, 16, 64, 256,"),
    "512": ({"convrot_groupsize": 512}, "is rotated in groups of 512"),
    "none": ({"convrot_groupsize": None}, "is rotated in groups of None"),
    "true": ({"convrot_groupsize": True}, "is rotated in groups of True"),
    "in params": ({"params": {"convrot_groupsize": 8}}, "is rotated in groups of 8"),
    "too wide": ({"convrot_groupsize": 4096}, "has 1024 input channels, which groups of 4096 do not divide"),
    "by our own name": (
        {"format": "int8-convrot-4096"},
        "has 1024 input channels, which groups of 4096 do not divide",
    ),
    "group_size": ({"group_size": 64}, "is marked as int8-convrot with groups of 64"),
    "own name, not rotated": (
        {"format": "int8-convrot-64", "convrot": False},
        "is marked as int8-convrot-64 and as not rotated (convrot)",
    ),
    "own name, other groups": (
        {"format": "int8-convrot-64", "convrot_groupsize": 16},
        "is marked as int8-convrot-64 with groups of 16 (convrot_groupsize)",
    ),
    "float8": ({"format": "float8_e4m3fn"}, "is marked as float8_e4m3fn and as rotated (convrot)"),
}


@pytest.mark.parametrize("entry,words", WRONG.values(), ids=WRONG)
def test_what_no_rotation_is_is_refused_by_name(entry, words, tmp_path):
    checkpoint = opened(tmp_path, ROTATED | entry, stored().state_dict("weight"))
    (problem,) = checkpoint.problems
    assert problem.key == f"{Q}.weight"
    assert words in problem.cause


def lightx2vs(folder, group, weight=None, name="model.safetensors", save=save_file):
    """A layer as LightX2V's "int8-convrot" stores it: without a marker, with the size of the groups beside it."""
    layer = {**(stored(256) if weight is None else weight).state_dict("weight"), "convrot_groupsize": group}
    tensors = {"head.modulation": torch.zeros(1, 2, 8), **{f"{Q}.{end}": part for end, part in layer.items()}}
    save({key: tensor.contiguous() for key, tensor in tensors.items()}, folder / name)
    return open_checkpoint(folder / name)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.float32], ids=str)
@pytest.mark.parametrize("group", [256, 64, 16])
@pytest.mark.parametrize(
    ("name", "save"), [("model.safetensors", save_file), ("model.pth", torch.save)], ids=("safetensors", "pth")
)
def test_lightx2vs_own_files_are_read(group, dtype, name, save, tmp_path):
    checkpoint = lightx2vs(tmp_path, torch.tensor(group, dtype=dtype), stored(group), name, save)
    assert (checkpoint.problems, checkpoint.formats) == ([], {name_of(group): 1})
    assert read(checkpoint)[0] == name_of(group)
    assert torch.equal(read(checkpoint)[1], stored(group).dequantize())


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (torch.tensor(100), "groups of 100 (convrot_groupsize), not of 4, 16"),
        (torch.tensor([16, 16]), "groups of None"),
        (torch.tensor(4096), "has 1024 input channels, which groups of 4096 do not divide"),
    ],
    ids=["100", "two", "wide"],
)
def test_groups_that_lightx2v_cannot_have_meant_are_refused(group, words, tmp_path):
    (problem,) = lightx2vs(tmp_path, group).problems
    assert problem.key == f"{Q}.weight"
    assert words in problem.cause


@pytest.mark.parametrize("group", [16, 64, 256])
def test_a_factor_is_read_beside_this_packs_own_marker(group, tmp_path):
    name = f"{name_of(group)}-smooth"
    factor = torch.rand(K) + 0.5
    made = FORMATS[name].quantize(weight(), torch.float32, pre_quant_scale=factor)
    entry = {"format": name, "convrot": True, "convrot_groupsize": group}
    layer = {**made.state_dict("weight"), "pre_quant_scale": factor}
    checkpoint = opened(tmp_path, entry, layer)
    assert checkpoint.problems == []
    stored = checkpoint.load().quantized[Q]
    assert stored.format == name
    assert torch.equal(stored.wrap(torch.float32).dequantize(), made.dequantize())
    (problem,) = opened(tmp_path, entry | {"convrot_groupsize": 4}, layer).problems
    assert f"is marked as {name} with groups of 4 (convrot_groupsize)" in problem.cause


def test_a_factor_beside_cores_marker_is_refused(tmp_path):
    layer = {**stored().state_dict("weight"), "pre_quant_scale": torch.ones(K)}
    (problem,) = opened(tmp_path, ROTATED, layer).problems
    assert (problem.key, problem.cause) == (f"{Q}.pre_quant_scale", "smooths the activations of its layer")
