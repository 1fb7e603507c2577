"""Models that were cast to fp8, whole or beside layers with scales: loaded, sampled and converted as their weights."""

import re

import pytest
import torch
from distance import distance
from safetensors.torch import load_file, save_file

from x2v_quant.benchmarks import encoders
from x2v_quant.benchmarks.wan import WanSize, dit
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options
from x2v_quant.loading.clip_vision import load_clip_vision
from x2v_quant.loading.dit import load_dit
from x2v_quant.loading.t5 import load_t5
from x2v_quant.reports.checkpoint import inspect
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
DTYPES = [torch.float8_e4m3fn, torch.float8_e5m2]
FP32 = SchemeChoice(compute_dtype="fp32")
LAYER = "blocks.0.self_attn.q"


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
    stored = open_checkpoint(target).load().quantized[LAYER]
    found = stored.wrap(torch.float32).dequantize()
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
    stored = open_checkpoint(target).load().quantized[LAYER]
    found = stored.wrap(torch.float32).dequantize()
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


SPIECE = encoders.spiece_model(1)
# loader -> a small unquantized model and how its linear layers are named
MODELS = {
    load_dit: (lambda: dit(0, WanSize(blocks=2), image_to_video=False), r"blocks\.\d+\.(self_attn|cross_attn|ffn)\."),
    load_t5: (lambda: encoders.umt5(1, encoders.pieces(SPIECE), 64), r"blocks\.\d+\.(attn|ffn)\."),
    load_clip_vision: (
        lambda: encoders.clip_vision(1, width=320, mlp=320, blocks=2),
        r"visual\.transformer\.\d+\.(attn|mlp)\.",
    ),
}
LARGEST = {torch.int8: 127.0, torch.float8_e4m3fn: 448.0, torch.float8_e5m2: 57344.0}
# name of a scale, shape of it
SCALES = {
    "rows": ("weight_scale", lambda largest: largest),
    "scale_weight": ("scale_weight", lambda largest: largest.amax()),
    "scale_weight of one": ("scale_weight", lambda largest: largest.amax().reshape(1)),
}
# what is cast beside layers with scales
RESTS = {
    "nothing": lambda key, tensor: False,
    "biases": lambda key, tensor: key.endswith("bias"),
    "norms": lambda key, tensor: "norm" in key,
    "linear layers and tables": lambda key, tensor: tensor.ndim == 2,
    "convolutions": lambda key, tensor: tensor.ndim > 2,
    "everything": lambda key, tensor: True,
}


def scaled(tensors, layers, dtype, name, shaped):
    """Codes and scales of the layers, the other tensors as they are."""
    made = {}
    for key, tensor in tensors.items():
        if not (re.match(layers, key) and key.endswith("weight") and tensor.ndim == 2 and "norm" not in key):
            made[key] = tensor.to(torch.bfloat16)
            continue
        scale = shaped(tensor.abs().amax(1, keepdim=True)) / LARGEST[dtype]
        codes = tensor / scale
        made[key] = (codes.round() if dtype is torch.int8 else codes).to(dtype)
        made[f"{key.removesuffix('weight')}{name}"] = scale.float()
    return made


def values(path):
    """Every weight that is loaded, under ComfyUI's names."""
    weights = open_checkpoint(path).load()
    found = {key: tensor.float() for key, tensor in weights.plain.items()}
    for layer, stored in weights.quantized.items():
        found[f"{layer}.weight"] = stored.wrap(torch.float32).dequantize()
    return found


def same_but_for_rounding(path, source):
    """e5m2 has two bits of a number, and what is as small as a rounding has none."""
    found, wanted = values(path), values(source)
    assert found.keys() == wanted.keys()
    for key, tensor in wanted.items():
        assert (found[key] - tensor).norm() <= 0.09 * tensor.norm(), key


@pytest.mark.parametrize("load", MODELS, ids=lambda load: load.__name__)
@pytest.mark.parametrize("dtype", LARGEST, ids=str)
@pytest.mark.parametrize("rest", RESTS)
def test_layers_with_scales_beside_what_was_cast(rest, dtype, load, tmp_path):
    """Whatever the loader takes is a source of convert as well, and what that writes loads."""
    (tmp_path / "spiece.model").write_bytes(SPIECE)
    dense, layers = MODELS[load]
    dense = dense()
    save_file({key: tensor.contiguous() for key, tensor in dense.items()}, tmp_path / "dense.safetensors")
    for number, cast in enumerate(DTYPES):
        name, shaped = list(SCALES.values())[(list(RESTS).index(rest) + number) % len(SCALES)]
        made = scaled(dense, layers, dtype, name, shaped)
        made = {
            key: tensor.to(cast) if tensor.dtype is torch.bfloat16 and RESTS[rest](key, tensor) else tensor
            for key, tensor in made.items()
        }
        path, target = tmp_path / "model.safetensors", tmp_path / f"{number}.safetensors"
        save_file({key: tensor.contiguous() for key, tensor in made.items()}, path)
        assert inspect(path)["problems"] == []
        assert load(str(path)) is not None
        same_but_for_rounding(path, tmp_path / "dense.safetensors")
        convert(path, target, Options(format="int8-channel"))
        assert load(str(target)) is not None
        same_but_for_rounding(target, tmp_path / "dense.safetensors")
