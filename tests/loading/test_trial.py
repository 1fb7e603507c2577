"""inspect's exit status 0 means that a file loads: what a loader refuses, ComfyUI refuses on the meta device too."""

import json
from pathlib import Path

import pytest
import torch
from family_files import FAMILIES, tensors_of, write
from older_comfyui import in_core
from safetensors.torch import load_file, save_file

from x2v_quant.benchmarks.models import WanSize, write_pair
from x2v_quant.checkpoints import CheckpointError
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options
from x2v_quant.loading.clip_vision import load_clip_vision
from x2v_quant.loading.dit import load_dit
from x2v_quant.loading.t5 import load_t5
from x2v_quant.reports.checkpoint import inspect

FIXTURES = Path(__file__).parent.parent / "fixtures"
CLIP = "models_clip_open-clip-xlm-roberta-large-vit-huge-14-int8.pth"
pytestmark = pytest.mark.usefixtures("inference")


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    dense, quantized = write_pair(tmp_path_factory.mktemp("wan"), WanSize(256, 512, 2, 64), "fp8")
    return {"bf16": load_file(dense), "fp8": load_file(quantized)}


@pytest.fixture
def refused(tmp_path):
    """refused(tensors, metadata=None) -> the problem, which inspect and the loader tell in the same words"""

    def check(tensors, metadata=None):
        path = tmp_path / "model.safetensors"
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path, metadata)
        (problem,) = inspect(path)["problems"]
        with pytest.raises(CheckpointError) as error:
            load_dit(str(path), unquantized=True)
        key = f": {problem['key']}" if problem["key"] else ""
        assert str(error.value) == f"{problem['file']}{key} {problem['cause']}. {problem['remedy']}"
        return problem

    return check


def halved(tensor):
    return tensor[: len(tensor) // 2]


# what is done to a sound Wan -> (key, words of the cause)
CHANGES = {
    "a bias is missing": ({"blocks.1.ffn.0.bias": None}, "blocks.1.ffn.0.bias", "is missing"),
    "a norm is missing": ({"blocks.0.norm3.weight": None}, "blocks.0.norm3.weight", "is missing"),
    "the text embedding is missing": ({"text_embedding.2.weight": None}, "text_embedding.2.weight", "is missing"),
    "the head is missing": ({"head.head.weight": None}, "head.head.weight", "is missing"),
    "the patches are missing": ({"patch_embedding.weight": None}, "patch_embedding.weight", "is missing"),
    "a layer too many": ({"blocks.1.extra.weight": torch.zeros(3)}, "blocks.1.extra.weight", "has no place"),
    "half of a modulation": (
        {"blocks.1.modulation": lambda t: t[:, :3]},
        "blocks.1.modulation",
        "has shape [1, 3, 256]",
    ),
    "half of the head's": ({"head.modulation": lambda t: t[..., :128]}, None, "the model wants"),
    "half of a norm": (
        {"blocks.0.self_attn.norm_q.weight": halved},
        "blocks.0.self_attn.norm_q.weight",
        "the model wants",
    ),
    "half of the patches": ({"patch_embedding.bias": halved}, "patch_embedding.bias", "the model wants"),
    "a scalar in the head": ({"head.modulation": lambda t: t.sum()}, "", "make no model that ComfyUI can build"),
}


@pytest.mark.parametrize("kind", ["bf16", "fp8"])
@pytest.mark.parametrize("change,key,words", CHANGES.values(), ids=CHANGES)
def test_what_the_loader_refuses(change, key, words, kind, wan, refused):
    tensors = dict(wan[kind])
    for name, value in change.items():
        tensors[name] = value(tensors[name]) if callable(value) else value
    problem = refused({name: tensor for name, tensor in tensors.items() if tensor is not None})
    assert key is None or problem["key"] == key
    assert words in problem["cause"]


@pytest.mark.parametrize("kind", ["fp8"])
def test_half_of_a_layer(kind, wan, refused):
    layer = "blocks.1.self_attn.o"
    tensors = wan[kind] | {f"{layer}.{end}": halved(wan[kind][f"{layer}.{end}"]) for end in ("weight", "weight_scale")}
    assert refused(tensors)["key"] == f"{layer}.weight"


# metadata's "config" -> words of the problem
CONFIGS = {
    "[]": "describes no model",
    "3": "describes no model",
    "null": "describes no model",
    '"x"': "describes no model",
    "{": "describes no model",
    "[" * 100_000: "describes no model",
    '{"transformer": 3}': "describes no model",
    '{"transformer": [1]}': "describes no model",
    '{"transformer": null}': "describes no model",
    '{"transformer": {"num_heads": "many"}}': "describes no model",
    '{"transformer": {"mystery": 1}}': "describes no model",
    '{"transformer": {"num_heads": 0}}': "describes no model",
    '{"transformer": {"num_layers": 1000000000}}': "that is larger than any model has",
    '{"transformer": {"ffn_dim": 1e300}}': "that is larger than any model has",
    '{"transformer": [["num_layers", 1000000000]]}': "that is larger than any model has",
    '{"transformer": {"dim": -1}}': "that is larger than any model has",
    '{"transformer": {"dim": NaN}}': "that is larger than any model has",
    '{"transformer": {"dim": Infinity}}': "that is larger than any model has",
    '{"transformer": {"ffn_dim": [1e9, 1e9]}}': "that is larger than any model has",
    '{"transformer": {"ffn_dim": {"a": [-1]}}}': "that is larger than any model has",
    '{"transformer": {"num_layers": 999}}': "that is larger than any model has",
    '{"transformer": {"ffn_dim": [1000000, 1000000, 1000000, 1000000]}}': "describes no model",
    f'{{"transformer": {{"dim": {"9" * 400}}}}}': "that is larger than any model has",
    f'{{"transformer": {{"dim": {"9" * 5000}}}}}': "describes no model",
    '{"transformer": ' + "[" * 3000 + "]" * 3000 + "}": "describes no model",
}


@pytest.mark.parametrize("text,words", CONFIGS.items(), ids=[text[:40] for text in CONFIGS])
def test_a_configuration_that_is_none(text, words, wan, refused):
    problem = refused(wan["fp8"], {"config": text})
    assert problem["key"] == "config"
    assert words in problem["cause"]


@pytest.mark.parametrize(
    "text", ["{}", '{"transformer": {}}', '{"transformer": []}', '{"transformer": {"text_dim": "many"}}', '{"vae": 3}']
)
def test_a_configuration_that_says_nothing_of_the_model(text, wan, tmp_path):
    """The width of the text is that of the weights, whatever it says."""
    path = tmp_path / "model.safetensors"
    save_file(wan["fp8"], path, {"config": text})
    assert inspect(path)["problems"] == []
    assert load_dit(str(path)) is not None


@pytest.mark.parametrize("sizes", [{"freq_dim": 128}, {"cross_attn_norm": None}, {"image_model": "none"}])
def test_a_configuration_of_another_model(sizes, wan, refused):
    """The tensors may be sound: to download them again would not help."""
    assert "or config in its metadata" in refused(wan["fp8"], {"config": json.dumps({"transformer": sizes})})["remedy"]


@pytest.mark.parametrize("name", ["t5.safetensors", "clip.safetensors"])
@pytest.mark.parametrize("text", ["{", "[]", '{"transformer": 3}'])
def test_an_encoders_configuration_is_not_asked(text, name, tmp_path):
    path = tmp_path / "model.safetensors"
    convert(FIXTURES / name, tmp_path / "made.safetensors", Options(format="int8-channel"))
    save_file(load_file(tmp_path / "made.safetensors"), path, {"config": text})
    assert inspect(path)["problems"] == []


def test_layers_of_no_model(refused):
    tensors = {
        "layers.0.mystery.weight": torch.ones(8, 16, dtype=torch.int8),
        "layers.0.mystery.weight_scale": torch.ones(1),
    }
    assert refused(tensors)["cause"] == "is no diffusion model that ComfyUI recognises"


ENCODERS = {
    "t5": ("models_t5_umt5-xxl-enc-int8.pth", load_t5, "blocks.0.pos_embedding.embedding.weight"),
    "clip": (CLIP, load_clip_vision, "visual.patch_embedding.weight"),
}


@pytest.mark.parametrize("change", [lambda t: t.flatten(), lambda t: None])
@pytest.mark.parametrize("name,load,key", ENCODERS.values(), ids=ENCODERS)
def test_an_encoder_whose_sizes_cannot_be_told(name, load, key, change, tmp_path):
    tensors = torch.load(FIXTURES / name, weights_only=True)
    tensors[key] = change(tensors[key])
    path = tmp_path / "model.pth"
    torch.save({key: tensor for key, tensor in tensors.items() if tensor is not None}, path)
    (problem,) = inspect(path)["problems"]
    with pytest.raises(CheckpointError) as error:
        load(str(path))
    assert str(error.value).endswith(f"{problem['cause']}. {problem['remedy']}")


@pytest.mark.parametrize("name", in_core(FAMILIES))
def test_every_family_is_sound(name, told, tmp_path):
    told(name)
    path = tmp_path / "model.safetensors"
    write(path, name, "int8", tensors_of(name))
    assert inspect(path)["problems"] == []
    assert load_dit(str(path)) is not None
