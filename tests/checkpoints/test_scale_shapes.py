"""Scales in other shapes: those that can only mean one thing are read, others are refused by what they look like."""

import json

import pytest
import torch
from safetensors.torch import save_file

from x2v_quant.benchmarks.quantize import KINDS
from x2v_quant.checkpoints import CheckpointError, open_checkpoint
from x2v_quant.checkpoints.foreign import OTHER_NAME
from x2v_quant.checkpoints.outline import read_outline

Q = "blocks.1.self_attn.q"
DIT = {"head.modulation": torch.zeros(1, 2, 8), "blocks.0.self_attn.q.weight": torch.zeros(8, 8)}
N, K = 384, 256


def made(kind: str, n: int = N, k: int = K) -> dict[str, torch.Tensor]:
    return dict(KINDS[kind](torch.randn((n, k), generator=torch.Generator().manual_seed(0))))


def opened(path, layer: dict[str, torch.Tensor]):
    save_file({**DIT, **{f"{Q}.{end}": tensor.contiguous() for end, tensor in layer.items()}}, path)
    return open_checkpoint(path)


# kind -> shapes that its scale may have as well
SHAPES = {
    "int8": [(1, N), (N,), (N, 1, 1), (1, N, 1), (1, 1, N)],
    "fp8": [(1, N), (N,), (N, 1, 1)],
    "fp8-e5m2": [(1, N)],
    "fp8-tensor": [(1,), (1, 1), (1, 1, 1)],
    "block128": [(3, 2, 1), (3, 1, 2, 1), (1, 3, 2)],
    "int4": [(N, 2, 1), (N, 1, 2)],
    "int4-compressed": [(N, 2, 1)],
}
CASES = [(kind, shape) for kind, shapes in SHAPES.items() if kind in KINDS for shape in shapes]


@pytest.mark.parametrize("kind,shape", CASES)
def test_dimensions_of_one_mean_nothing(kind, shape, tmp_path):
    layer = made(kind)
    plain = opened(tmp_path / "plain.safetensors", layer)
    end = "weight_scale"
    found = opened(tmp_path / "model.safetensors", {**layer, end: layer[end].reshape(shape)})
    assert (found.formats, found.problems) == (plain.formats, [])
    stored, wanted = (checkpoint.load().quantized[Q] for checkpoint in (found, plain))
    assert stored.tensors.keys() == wanted.tensors.keys()
    assert all(torch.equal(tensor, wanted.tensors[name]) for name, tensor in stored.tensors.items())


def test_square_layers_too(tmp_path):
    layer = made("int8", 256, 256)
    found = opened(tmp_path / "model.safetensors", {**layer, "weight_scale": layer["weight_scale"].reshape(1, 256)})
    scale = found.load().quantized[Q].tensors["scale"]
    assert torch.equal(scale, layer["weight_scale"].float())


def test_one_row_of_blocks_stays_one(tmp_path):
    """[1, 2] of 2 rows and 256 columns: a block's scales, not one for each row."""
    layer = {"weight": torch.ones(2, 256).to(torch.float8_e4m3fn), "weight_scale": torch.tensor([[1.0, 2.0]])}
    assert opened(tmp_path / "model.safetensors", layer).formats == {"fp8-block128": 1}


# kind -> shape of the scale -> what the refusal says of it
REFUSED = {
    "int8": {
        (N, 4): "int8 with groups of 64",
        (N, 4, 1): "int8 with groups of 64",
        (N, 1, 4): "int8 with groups of 64",
        (4, N): "int8 with groups of 64, turned",
        (K,): "int8 with a scale per input channel",
        (1, K): "int8 with a scale per input channel",
        (24, 16): "int8-block16",
        (1, 4): "int8 with groups of 64 for all rows",
    },
    "fp8": {
        (N, 4): "fp8 with groups of 64",
        (N, 4, 1): "fp8 with groups of 64",
        (2, 3): "fp8-block128, turned",
        (2, 1, 3): "fp8-block128, turned",
        (6,): "fp8-block128, in one row",
        (6, 4): "fp8-block64",
        (4, 6): "fp8-block64, turned",
        (12, 1, 8, 1): "fp8-block32",
        (6, 2): "fp8 with blocks of 64 x 128",
        (96, 1): "fp8 with a scale for 4 rows",
    },
    "int4": {(N, 4): "int4 with groups of 64", (N, 4, 1): "int4 with groups of 64", (N, 8): "int4 with groups of 32"},
    "int4-compressed": {(N, 4): "int4 with groups of 64", (N, 4, 1): "int4 with groups of 64"},
}
NAMED = [(kind, shape, words) for kind, of_one in REFUSED.items() for shape, words in of_one.items()]


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("kind,shape,words", NAMED)
def test_others_are_refused_by_their_name(kind, shape, words, marked, tmp_path):
    layer = {**made(kind), "weight_scale": torch.ones(shape)}
    marks = {"int8": "int8_tensorwise", "fp8": "float8_e4m3fn"}
    if marked and kind in marks:
        entry = json.dumps({"format": marks[kind]}).encode()
        layer["comfy_quant"] = torch.tensor(list(entry), dtype=torch.uint8)
    (problem,) = opened(tmp_path / "model.safetensors", layer).problems
    assert f"looks like {words}" in problem.cause
    assert "damaged" not in problem.remedy
    assert problem.remedy.startswith("This version reads")


# optimum-quanto's names of an int8 or fp8 layer -> those of everybody else
@pytest.mark.parametrize("kind", ["int8", "fp8"])
@pytest.mark.parametrize("scales", [{}, {"input_scale": 1.0, "output_scale": 1.0}, {"input_scale": 0.5}])
@pytest.mark.parametrize("prefix", ["", "net."])
def test_quanto_layers_are_read(kind, scales, prefix, tmp_path):
    layer = made(kind)
    plain = opened(tmp_path / "plain.safetensors", layer).load().quantized[Q]
    tensors = {**DIT, f"{Q}.weight._data": layer["weight"], f"{Q}.weight._scale": layer["weight_scale"]}
    tensors |= {f"{Q}.{end}": torch.tensor(value) for end, value in scales.items()}
    save_file({prefix + key: tensor.contiguous() for key, tensor in tensors.items()}, tmp_path / "model.safetensors")
    found = open_checkpoint(tmp_path / "model.safetensors")
    assert found.problems == []
    stored = found.load().quantized[Q]
    assert torch.equal(stored.tensors["codes"], plain.tensors["codes"])
    assert torch.equal(stored.tensors["scale"], plain.tensors["scale"])
    static = stored.tensors.get("input_scale", torch.empty(0))
    assert static.tolist() == ([0.5] if kind == "fp8" and scales == {"input_scale": 0.5} else [])
    assert any("static output scales ignored" in note for note in found.notes) == ("output_scale" in scales)


# what torchao's layers are made of in safetensors files
@pytest.mark.parametrize("kind", ["int8", "fp8"])
@pytest.mark.parametrize("prefix", ["", "net."])
def test_torchao_layers_are_read(kind, prefix, tmp_path):
    layer = made(kind)
    plain = opened(tmp_path / "plain.safetensors", layer).load().quantized[Q]
    tensors = {**DIT, f"{Q}._weight_qdata": layer["weight"], f"{Q}._weight_scale": layer["weight_scale"]}
    save_file({prefix + key: tensor.contiguous() for key, tensor in tensors.items()}, tmp_path / "model.safetensors")
    found = open_checkpoint(tmp_path / "model.safetensors")
    assert found.problems == []
    stored = found.load().quantized[Q]
    assert all(torch.equal(stored.tensors[name], tensor) for name, tensor in plain.tensors.items())


def test_torchaos_zero_points_are_refused(tmp_path):
    layer = made("int8")
    tensors = {"_weight_qdata": layer["weight"], "_weight_scale": layer["weight_scale"]}
    tensors["_weight_zero_point"] = torch.ones(N, 1, dtype=torch.int8)
    (problem,) = opened(tmp_path / "model.safetensors", tensors).problems
    assert "zero point" in problem.cause


@pytest.mark.parametrize(
    "name", ["scale", "scales", "weight_scales", "w_scale", "qscale", "scale_weight_inv", "scaling"]
)
@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_a_scale_by_another_name_is_told(kind, name, tmp_path):
    layer = made(kind)
    layer[name] = layer.pop("weight_scale")
    (problem,) = opened(tmp_path / "model.safetensors", layer).problems
    assert (problem.key, problem.cause) == (f"{Q}.{name}", OTHER_NAME)
    assert "damaged" not in problem.remedy


def test_quanto_int4_is_refused_by_its_name(tmp_path):
    layer = {
        "weight._data": torch.zeros(N // 2, K, dtype=torch.uint8),
        "weight._scale": torch.ones(N, 2),
        "weight._shift": torch.ones(N, 2),
    }
    problems = opened(tmp_path / "model.safetensors", layer).problems
    assert [problem.key for problem in problems] == [f"{Q}.weight._data"]
    assert "asymmetric int4" in problems[0].cause


@pytest.mark.parametrize("end", ["weight_scale", "scale_weight", "weight_scale_inv"])
@pytest.mark.parametrize("kind", ["int8", "fp8", "block128"])
def test_reciprocals_of_scales_are_refused(kind, end, tmp_path):
    """They look like scales and would make noise; DeepSeek's weight_scale_inv is multiplied by."""
    layer = made(kind)
    layer[end] = 1 / layer.pop("weight_scale").float()
    checkpoint = opened(tmp_path / "model.safetensors", layer)
    with pytest.raises(CheckpointError, match=rf"{Q}\.{end} is \d+ for most rows, .* reciprocal"):
        checkpoint.load()
    assert "reciprocal" in read_outline(checkpoint).problems[0].cause
