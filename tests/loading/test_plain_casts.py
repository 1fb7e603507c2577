"""Models that were cast to fp8, whole or beside layers with scales: loaded, sampled and converted as their weights."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options
from x2v_quant.demo import encoders
from x2v_quant.demo.wan import WanSize, dit
from x2v_quant.formats import FORMATS
from x2v_quant.inspection import inspect
from x2v_quant.loading import load_clip_vision, load_dit, load_t5
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
DTYPES = [torch.float8_e4m3fn, torch.float8_e5m2]
FP32 = SchemeChoice(compute_dtype="fp32")
LAYER = "blocks.0.self_attn.q"


def distance(a, b):
    return ((a - b).norm() / b.norm()).item()


@pytest.fixture
def wan():
    """A Wan in bfloat16 with as many blocks as WanSize has"""
    made = dit(0, WanSize(), image_to_video=False)
    return {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in made.items()}


@pytest.mark.parametrize("dtype", DTYPES)
def test_it_computes_what_the_same_values_compute(dtype, wan, sample, tmp_path):
    cast = {key: tensor.to(dtype) for key, tensor in wan.items()}
    save_file(cast, tmp_path / "cast.safetensors")
    save_file({key: tensor.to(torch.bfloat16) for key, tensor in cast.items()}, tmp_path / "dense.safetensors")
    assert inspect(tmp_path / "cast.safetensors")["problems"] == []
    dense = sample(load_dit(str(tmp_path / "dense.safetensors"), FP32, unquantized=True))
    exact = sample(load_dit(str(tmp_path / "cast.safetensors"), SchemeChoice(dit="dequant", compute_dtype="fp32")))
    assert distance(exact, dense) < 1e-4
    assert distance(sample(load_dit(str(tmp_path / "cast.safetensors"))), dense) < 0.06


@pytest.mark.parametrize("unquantized", [False, True])
def test_the_report_says_so(unquantized, wan, tmp_path):
    path = tmp_path / "cast.safetensors"
    save_file({key: tensor.to(torch.float8_e4m3fn) for key, tensor in wan.items()}, path)
    plan = load_dit(str(path), unquantized=unquantized).model.x2v_plan
    assert len(plan.layers) == 40
    assert any("have no scale: a plain cast" in line for line in plan.lines())


@pytest.mark.parametrize("dialect", ["lightx2v", "comfyui", "x2v"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_it_is_a_source_of_convert(dtype, dialect, wan, tmp_path):
    cast = {key: tensor.to(dtype) for key, tensor in wan.items()}
    source, target = tmp_path / "cast.safetensors", tmp_path / "out.safetensors"
    save_file(cast, source)
    convert(source, target, Options(format="int8-channel", dialect=dialect))
    held = open_checkpoint(target).load().quantized[LAYER]
    found = FORMATS[held.format].wrap(held.tensors, torch.float32, held.shape).dequantize()
    torch.testing.assert_close(found, cast[f"{LAYER}.weight"].float(), rtol=0, atol=0.01)
    written = load_file(target)
    assert not {tensor.dtype for tensor in written.values()} & set(DTYPES)
    assert torch.equal(written["head.head.weight"], cast["head.head.weight"].to(torch.bfloat16))


@pytest.mark.parametrize("dtype", DTYPES)
def test_its_own_format_keeps_its_values(dtype, wan, tmp_path):
    cast = {key: tensor.to(dtype) for key, tensor in wan.items()}
    source, target = tmp_path / "cast.safetensors", tmp_path / "out.safetensors"
    save_file(cast, source)
    convert(source, target, Options(dialect="x2v"))
    held = open_checkpoint(target).load().quantized[LAYER]
    found = FORMATS[held.format].wrap(held.tensors, torch.float32, held.shape).dequantize()
    assert torch.equal(found, cast[f"{LAYER}.weight"].float())


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_text_encoder(dtype, tmp_path):
    """Its token embedding is no linear layer and becomes bfloat16."""
    spiece = encoders.spiece_model(1)
    (tmp_path / "spiece.model").write_bytes(spiece)
    cast = {key: tensor.to(dtype) for key, tensor in encoders.umt5(1, encoders.pieces(spiece), 64).items()}
    outputs = []
    for name, tensors in {"cast": cast, "dense": {key: t.to(torch.bfloat16) for key, t in cast.items()}}.items():
        torch.save(tensors, tmp_path / f"{name}.pth")
        clip = load_t5(
            str(tmp_path / f"{name}.pth"), SchemeChoice(t5="dequant", compute_dtype="fp32"), unquantized=name == "dense"
        )
        outputs.append(clip.encode_from_tokens(clip.tokenize("a red circle")))
    assert distance(*outputs) < 1e-4


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_vision_encoder(dtype, tmp_path):
    cast = {key: tensor.to(dtype) for key, tensor in encoders.clip_vision(1, width=320, mlp=320, blocks=3).items()}
    torch.save(cast, tmp_path / "clip.pth")
    plan = load_clip_vision(str(tmp_path / "clip.pth")).model.x2v_plan
    assert len(plan.layers) == 3 * 6


def test_a_quantized_text_embedding_tells_its_width_too(wan, tmp_path):
    path, cast = tmp_path / "model.safetensors", dict(wan)
    for layer in ("text_embedding.0", "text_embedding.2", "head.head"):
        cast[f"{layer}.weight"] = (wan[f"{layer}.weight"].float() * 64).to(torch.float8_e4m3fn)
        cast[f"{layer}.weight_scale"] = torch.tensor(1 / 64)
    save_file(cast, path)
    assert inspect(path)["problems"] == []
    assert load_dit(str(path)).model.x2v_plan.layers.keys() == {"text_embedding.0", "text_embedding.2", "head.head"}
