"""What read_lora makes of a file: damaged ones, training files of PyTorch, alphas that are in no tensor."""

import json
import math
import os

import pytest
import torch
from safetensors.torch import save_file

from x2v_quant.benchmarks.wan import WanSize
from x2v_quant.loras import LoRAError, apply_lora, read_lora

pytestmark = pytest.mark.usefixtures("inference")
SIZE = WanSize(dim=128, ffn=512)
LAYER = "blocks.0.attn1.to_q"
PAIR = {"lora_A.weight": torch.full((4, SIZE.dim), 0.1), "lora_B.weight": torch.full((SIZE.dim, 4), 0.1)}
OURS = "diffusion_model.blocks.0.self_attn.q.weight"


def tensors(prefix="transformer.", layers=(LAYER,)):
    return {f"{prefix}{layer}.{end}": tensor for layer in layers for end, tensor in PAIR.items()}


@pytest.mark.parametrize(
    "name,content,words",
    [
        (
            "a.safetensors",
            b"version https://git-lfs.github.com/spec/v1\noid x\n",
            "Git LFS pointer, not the LoRA. Downl",
        ),
        ("a.safetensors", b"<!DOCTYPE html><html>" + b" " * 99, "is a web page, not a LoRA. Download the file itself"),
        ("a.safetensors", b"GGUF" + bytes(99), "is a GGUF file. Get the LoRA as .safetensors"),
        ("a.safetensors", b"PK\x03\x04" + bytes(99), "is cut off: it begins like a PyTorch file or a packed file"),
        ("a.safetensors", b"", "is empty. Download it again"),
        ("a.pt", b"PK\x03\x04" + bytes(99), "is cut off or is no PyTorch file. Download it again"),
    ],
)
def test_what_is_no_lora_is_told_by_what_it_is(name, content, words, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LoRAError, match=rf"^{name} .*{words}"):
        read_lora(tmp_path / name)


def test_a_file_that_nobody_may_read(tmp_path, monkeypatch):
    save_file(tensors(), tmp_path / "a.safetensors")

    def refuse(*_):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr("x2v_quant.loras.file.read_header", refuse)
    with pytest.raises(LoRAError, match=r"^a.safetensors cannot be read: Permission denied. Check its rights"):
        read_lora(tmp_path / "a.safetensors")


def test_no_memory_is_no_damage(tmp_path, monkeypatch):
    save_file(tensors(), tmp_path / "a.safetensors")

    def refuse(*_, **__):
        raise MemoryError

    monkeypatch.setattr("comfy.utils.load_torch_file", refuse)
    with pytest.raises(MemoryError):
        read_lora(tmp_path / "a.safetensors")


ALPHA = f"transformer.{LAYER}.alpha"
PICKLES = {
    "a training file": {"lora": {**tensors(), ALPHA: 2.0}, "step": 5, "optimizer": {"exp_avg": {"x": torch.ones(2)}}},
    "an average": {"lora": {key: held * 2 for key, held in tensors().items()}, "ema": {**tensors(), ALPHA: 2.0}},
    "a state_dict": {"state_dict": {**tensors(), ALPHA: torch.tensor(2.0)}, "epoch": 1},
    "parameters": {**{key: torch.nn.Parameter(tensor) for key, tensor in tensors().items()}, ALPHA: 2},
}


@pytest.mark.parametrize("kind", PICKLES)
def test_pytorch_files_of_trainers(kind, tmp_path, models):
    torch.save(PICKLES[kind], tmp_path / "lora.pt")
    patched, report = apply_lora(models("int8-channel"), read_lora(tmp_path / "lora.pt"), "lora.pt", 1.0, "merge")
    assert report == "The whole LoRA is used: lora.pt, strength 1 (merged)."
    assert patched.patches[OURS][0][1].weights[2] == 2.0


def test_code_in_a_pickle_is_named(tmp_path):
    torch.save({**tensors(), "run": os.system}, tmp_path / "lora.pt")
    with pytest.raises(LoRAError, match=r"pickled Python objects \(\w+\.system\), which can run code and are not read"):
        read_lora(tmp_path / "lora.pt")


# a configuration of peft's, under diffusers' prefix -> the alpha that core is to have for rank 4, None for no change
CONFIGURATIONS = {
    "alpha": ({"r": 4, "lora_alpha": 2}, 2.0),
    "alpha is the rank": ({"r": 4, "lora_alpha": 4}, None),
    "rank-stabilized": ({"r": 4, "lora_alpha": 3, "use_rslora": True}, 3 * math.sqrt(4)),
    "of this layer": ({"r": 4, "lora_alpha": 2, "alpha_pattern": {LAYER: 16}}, 16.0),
    "of layers of this name": ({"r": 4, "lora_alpha": 2, "alpha_pattern": {r"to_q$": 8}}, 8.0),
    "of other layers": ({"r": 4, "lora_alpha": 4, "alpha_pattern": {"to_k": 16}}, None),
    "another rank": ({"r": 8, "lora_alpha": 8, "rank_pattern": {LAYER: 4}}, 8.0),
    "nothing": ({}, None),
    "no number": ({"lora_alpha": math.nan}, None),
    "a text": ({"lora_alpha": "8"}, None),
    "a list of patterns": ({"lora_alpha": 2, "alpha_pattern": [1]}, 2.0),
}


def alpha_of(path, models):
    patched, report = apply_lora(models("int8-channel"), read_lora(path), path.name, 1.0, "merge")
    return patched.patches[OURS][0][1].weights[2], report


@pytest.mark.parametrize("prefix", ["transformer.", ""])
@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_alphas_in_diffusers_metadata(kind, prefix, tmp_path, models):
    config, wanted = CONFIGURATIONS[kind]
    told = {f"{prefix}{name}": value for name, value in config.items()} | {"text_encoder.lora_alpha": 99}
    path = tmp_path / "lora.safetensors"
    save_file(tensors(), path, {"lora_adapter_metadata": json.dumps(told)})
    alpha, report = alpha_of(path, models)
    assert alpha == wanted
    assert ("1 layers have their alpha from lora_adapter_metadata" in report) is (wanted is not None)


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_model.bin", "another.safetensors"])
def test_alphas_in_pefts_folder(name, tmp_path, models):
    held = tensors("base_model.model.")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8}))
    save_file(held, tmp_path / name) if name.endswith("safetensors") else torch.save(held, tmp_path / name)
    alpha, report = alpha_of(tmp_path / name, models)
    assert alpha == (None if name.startswith("another") else 8.0)
    assert ("from adapter_config.json" in report) is (alpha is not None)


def test_a_files_own_alpha_counts(tmp_path, models):
    path = tmp_path / "lora.safetensors"
    held = tensors() | {ALPHA: torch.tensor(1.0)}
    save_file(held, path, {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 2})})
    assert alpha_of(path, models)[0] == 1.0


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[]", "null", '{"lora_alpha": {}}'])
def test_metadata_that_is_no_configuration_is_none(text, tmp_path, models):
    path = tmp_path / "lora.safetensors"
    save_file(tensors(), path, {"lora_adapter_metadata": text})
    assert alpha_of(path, models)[0] is None
