"""One model under several names and in several files gives one result."""

import json
import re

import pytest
import torch
from name_tables import targets_of
from safetensors.torch import load_file, save_file

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import COMFYUI, LIGHTX2V

# as diffusers' own conversion of Wan names them
DIFFUSERS = (
    (r"time_embedding\.0\.", "condition_embedder.time_embedder.linear_1."),
    (r"time_embedding\.2\.", "condition_embedder.time_embedder.linear_2."),
    (r"time_projection\.1\.", "condition_embedder.time_proj."),
    (r"text_embedding\.0\.", "condition_embedder.text_embedder.linear_1."),
    (r"text_embedding\.2\.", "condition_embedder.text_embedder.linear_2."),
    (r"head\.modulation", "scale_shift_table"),
    (r"head\.head\.", "proj_out."),
    (r"\.norm3\.", ".norm2."),
    (r"\.modulation", ".scale_shift_table"),
    (r"self_attn\.o\.", "attn1.to_out.0."),
    (r"cross_attn\.o\.", "attn2.to_out.0."),
    (r"self_attn\.([qkv])\.", r"attn1.to_\1."),
    (r"cross_attn\.([qkv])\.", r"attn2.to_\1."),
    (r"self_attn\.norm", "attn1.norm"),
    (r"cross_attn\.norm", "attn2.norm"),
    (r"ffn\.0\.", "ffn.net.0.proj."),
    (r"ffn\.2\.", "ffn.net.2."),
)


def diffusers_name(name):
    for pattern, replacement in DIFFUSERS:
        name = re.sub(pattern, replacement, name)
    return name


def sharded(tensors, folder):
    folder.mkdir()
    keys = list(tensors)
    table = {}
    for number, part in enumerate((keys[::2], keys[1::2]), 1):
        name = f"model-{number:05}-of-00002.safetensors"
        save_file({key: tensors[key] for key in part}, folder / name)
        table.update(dict.fromkeys(part, name))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    return folder


def saved(tensors, path):
    save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)
    return path


SOURCES = {
    "pth": lambda tensors, folder: saved(tensors, folder / "model.pth"),
    "shards": lambda tensors, folder: sharded(tensors, folder / "shards"),
    "whole checkpoint": lambda tensors, folder: saved(
        {f"model.diffusion_model.{key}": tensor for key, tensor in tensors.items()}, folder / "whole.safetensors"
    ),
    "diffusers": lambda tensors, folder: saved(
        {diffusers_name(key): tensor for key, tensor in tensors.items()}, folder / "diffusers.safetensors"
    ),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_source_gives_the_same_file(kind, tensors, source, tmp_path, converted):
    other = SOURCES[kind](tensors, tmp_path)
    one = load_file(converted(source, "a.safetensors", format="int8-channel"))
    two = load_file(converted(other, "b.safetensors", format="int8-channel"))
    assert one.keys() == two.keys()
    for key in one:
        assert torch.equal(one[key], two[key]), key


def test_a_quantized_file_under_diffusers_names_loads_as_wan(tensors, source, tmp_path, converted):
    ours = load_file(converted(source, format="int8-channel"))
    path = saved({diffusers_name(key): tensor for key, tensor in ours.items()}, tmp_path / "diffusers.safetensors")
    checkpoint = open_checkpoint(path)
    checkpoint.require("dit")
    weights = checkpoint.load()
    assert weights.plain.keys() | {f"{layer}.weight" for layer in weights.quantized} == tensors.keys()


@pytest.mark.parametrize("name", ["t5.safetensors", "clip.safetensors"])
def test_encoders_go_to_comfyuis_names_and_back(name, fixtures, converted):
    there = converted(fixtures / name, "there.safetensors", format="int8-channel", dialect=COMFYUI)
    back = load_file(converted(there, "back.safetensors", dialect=LIGHTX2V))
    direct = load_file(converted(fixtures / name, "direct.safetensors", format="int8-channel", dialect=LIGHTX2V))
    assert set(load_file(there)) & set(direct) == set()
    # a vision encoder in ComfyUI's names has no logit scale
    assert direct.keys() - {"log_scale"} == back.keys()
    for key in back:
        assert torch.equal(direct[key], back[key]), key


@pytest.mark.parametrize(
    "name,model", [("t5.safetensors", "umt5 encoder"), ("clip.safetensors", "CLIP ViT vision encoder (XLM-R)")]
)
def test_comfyuis_names_are_those_that_the_loaders_give_them(name, model, fixtures, converted):
    given = load_file(fixtures / name)
    expected = {target.name for key in given for target in targets_of(model, key)}
    found = load_file(converted(fixtures / name, format="int8-channel", dialect=COMFYUI))
    beside = (".comfy_quant", ".weight_scale")
    assert {key for key in found if not key.endswith(beside)} == expected


def test_unquantized_tensors_may_change_their_type(source, converted):
    found = load_file(converted(source, format="int8-channel", kept="fp16"))
    assert found["head.head.weight"].dtype == torch.float16
    assert found["blocks.0.ffn.0.bias"].dtype == torch.float16
    assert found["blocks.0.ffn.0.weight"].dtype == torch.int8
    # LightX2V's converter stores scales in the type of the source's weight
    assert found["blocks.0.ffn.0.weight_scale"].dtype == torch.bfloat16


def test_another_format_for_some_layers(source, converted):
    from x2v_quant.layer_rules import parse_overrides

    rules = tuple(parse_overrides("ffn.0 = fp8-channel\nblocks.1.* = keep"))
    checkpoint = open_checkpoint(converted(source, format="int8-channel", overrides=rules))
    formats = {layer: entry.format for layer, entry in checkpoint.layers.items()}
    assert len(formats) == 10
    assert {name for name, kind in formats.items() if kind == "fp8-channel"} == {"blocks.0.ffn.0"}


def test_a_quantized_source_becomes_another_format(source, converted):
    first = converted(source, "a.safetensors", format="fp8-channel")
    checkpoint = open_checkpoint(converted(first, "b.safetensors", format="int8-channel"))
    assert checkpoint.formats == {"int8-channel": 20}
