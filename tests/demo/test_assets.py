"""The demo's files are what LightX2V's converter would write, and the same each time."""

import json
from pathlib import Path

import pytest
import sentencepiece
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from x2v_quant.benchmarks import encoders, wan
from x2v_quant.benchmarks.quantize import quantized
from x2v_quant.demo import assets, trained
from x2v_quant.demo.quantize import FP8_MAX, quantize_rows

FIXTURES = Path(__file__).parents[1] / "fixtures"
CODES = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}
SMALL = wan.WanSize(dim=128, ffn=128, blocks=1, text=32)


@pytest.fixture(scope="module")
def original():
    return {name: tensor.bfloat16() for name, tensor in wan.dit(1, SMALL, image_to_video=True).items()}


@pytest.mark.parametrize("kind", assets.FORMATS)
def test_quantized_layers_are_wans(original, kind):
    tensors = quantized(original, kind, "dit")
    scaled = {name.removesuffix(".weight_scale") for name in tensors if name.endswith("weight_scale")}
    attention = [f"{part}.{name}" for part in ("self_attn", "cross_attn") for name in "qkvo"]
    layers = [*attention, "cross_attn.k_img", "cross_attn.v_img", "ffn.0", "ffn.2"]
    assert scaled == {f"blocks.0.{layer}" for layer in layers}
    for layer in scaled:
        weight, scale = tensors[f"{layer}.weight"], tensors[f"{layer}.weight_scale"]
        assert weight.dtype == CODES[kind]
        assert scale.shape == (weight.shape[0], 1)
    untouched = set(tensors) & set(original) - {f"{layer}.weight" for layer in scaled}
    assert all(torch.equal(tensors[name], original[name]) for name in untouched)


@pytest.mark.parametrize("kind", assets.FORMATS)
def test_error_of_a_weight_is_half_a_step(kind):
    weight = torch.randn(64, 256, generator=torch.Generator().manual_seed(3))
    codes, scale = quantize_rows(weight, kind)
    error = (codes.float() * scale - weight).abs()
    step = scale / 2 if kind == "int8" else torch.maximum(weight.abs() * 2**-4, scale * 2**-10)
    assert (error <= step * 1.0001).all()


@pytest.mark.parametrize("kind", assets.FORMATS)
def test_a_zero_row_stays_zero(kind):
    codes, scale = quantize_rows(torch.zeros(2, 16, dtype=torch.bfloat16), kind)
    assert not codes.float().any()
    assert (scale > 0).all()


def test_same_seed_same_tensors():
    first, second = (wan.dit(1, SMALL, image_to_video=False) for _ in range(2))
    other = wan.dit(2, SMALL, image_to_video=False)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["blocks.0.ffn.0.weight"], other["blocks.0.ffn.0.weight"])


def test_tokenizer_has_umt5s_special_ids_and_knows_the_demos_words():
    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=encoders.spiece_model(1))
    assert (tokenizer.pad_id(), tokenizer.eos_id(), tokenizer.unk_id()) == (0, 1, 2)
    assert tokenizer.unk_id() not in tokenizer.encode("a small red fox runs over the sea")


def torch_file(models, field, kind):
    return torch.load(models / assets.FOLDERS[field] / getattr(assets.names(kind), field), weights_only=True)


def test_every_file_is_there_and_none_has_a_published_name(demo_models):
    paths = assets.paths(demo_models)
    assert len(paths) == 13
    assert all(path.is_file() and path.name.startswith("x2v_demo_") for path in paths)
    assert set(paths) | {demo_models / assets.STAMP} == {path for path in demo_models.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", [assets.ORIGINAL, *assets.FORMATS])
@pytest.mark.parametrize("field", ["t2v", "i2v"])
def test_diffusion_models_carry_their_text_width(demo_models, kind, field):
    path = demo_models / "diffusion_models" / getattr(assets.names(kind), field)
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
    assert config == {"transformer": {"text_dim": load_file(path)["text_embedding.0.weight"].shape[1]}}


def test_the_original_is_the_trained_model_bit_for_bit(demo_models):
    written = load_file(demo_models / "diffusion_models" / assets.names(assets.ORIGINAL).t2v)
    kept = trained.dit()
    assert set(written) == set(kept)
    assert all(torch.equal(written[name], tensor) for name, tensor in kept.items())


@pytest.mark.parametrize("kind", assets.FORMATS)
def test_encoders_are_quantized_and_the_tokenizer_travels_with_its_embedding(demo_models, kind):
    text = torch_file(demo_models, "t5", kind)
    assert text["blocks.0.attn.q.weight"].dtype == CODES[kind]
    assert bytes(text[assets.TOKENIZER].tolist()) == trained.spiece()
    assert text["token_embedding.weight"].shape[0] == encoders.pieces(trained.spiece())
    clip = torch_file(demo_models, "clip", kind)
    assert clip["visual.transformer.0.attn.to_qkv.weight"].dtype == CODES[kind]
    assert clip["visual.transformer.0.attn.to_qkv.weight_scale"].shape == (3 * wan.IMAGE_FEATURES, 1)
    assert torch.finfo(torch.float8_e4m3fn).max == FP8_MAX


def states(models):
    return {path: path.stat().st_mtime_ns for path in models.rglob("*")}


def test_writing_again_changes_nothing(demo_models):
    before = states(demo_models)
    assert assets.write(demo_models) == assets.paths(demo_models)
    assert states(demo_models) == before


def test_a_lost_file_or_another_training_is_written_again(tmp_path):
    models = tmp_path / "models"
    lost, *others = assets.write(models)
    contents = {path: path.read_bytes() for path in (lost, *others)}
    lost.unlink()
    assets.write(models)
    assert {path: path.read_bytes() for path in contents} == contents
    (models / assets.STAMP).write_text("of another training")
    others[-1].write_bytes(b"of another training")
    assets.write(models)
    assert {path: path.read_bytes() for path in contents} == contents


@pytest.mark.parametrize("kind", assets.FORMATS)
def test_same_codes_as_lightx2vs_converter(kind):
    """Halfway between two fp8 codes it rounds away from zero, torch's cast to the even one: both are nearest."""
    source = load_file(FIXTURES / "t5.safetensors")
    theirs = torch.load(FIXTURES / f"models_t5_umt5-xxl-enc-{kind}.pth", weights_only=True)
    ours = quantized(source, kind, "t5")
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype
        if tensor.dtype == torch.float8_e4m3fn:
            value = (source[name] / theirs[f"{name}_scale"]).float()
            assert torch.equal((ours[name].float() - value).abs(), (tensor.float() - value).abs())
        else:
            assert torch.equal(ours[name], tensor)
