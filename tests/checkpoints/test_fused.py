"""A to_qkv that the file keeps in one piece becomes three layers, in every format whose rows can be told apart."""

import pytest
import torch
from kinds import encoding_of

from x2v_quant.benchmarks.quantize import KINDS
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.formats import FORMATS

FUSED = "visual.transformer.0.attn.to_qkv"
# enough for every format to be told by its shapes
K = 512
LAYER = "vision_model.encoder.layers.0.self_attn.{}_proj"


def clip(tmp_path, kind, rows):
    weight = torch.randn((rows, K), generator=torch.Generator().manual_seed(0))
    tensors = {f"{FUSED}.{end}": tensor for end, tensor in KINDS[kind](weight).items()}
    path = tmp_path / "clip.pth"
    torch.save({**tensors, f"{FUSED}.bias": torch.arange(rows).float(), "visual.head": torch.zeros(8, 8)}, path)
    return open_checkpoint(path)


def dequantized(loaded):
    return loaded.wrap(torch.float32).dequantize()


def assert_rows_of_the_whole(checkpoint, each):
    """Every one of the three has its `each` rows of the layer in the file."""
    checkpoint.require("clip_vision")
    assert sum(checkpoint.formats.values()) == 1
    weights = checkpoint.load()
    stored = checkpoint.layers[LAYER.format("q")].stored
    whole = checkpoint.read_layer(stored, torch.load(checkpoint.path, weights_only=True))
    expected = FORMATS[stored.encoding.format].wrap(whole, torch.float32, stored.shape).dequantize()
    for i, name in enumerate("qkv"):
        loaded = weights.quantized[LAYER.format(name)]
        assert loaded.shape == (each, K)
        assert torch.equal(dequantized(loaded), expected[each * i : each * (i + 1)])
        assert all(tensor.is_contiguous() for tensor in loaded.tensors.values())
        assert weights.plain[f"{LAYER.format(name)}.bias"][0] == each * i


@pytest.mark.parametrize("kind", KINDS)
def test_the_three_are_the_rows_of_the_whole(kind, tmp_path):
    assert_rows_of_the_whole(clip(tmp_path, kind, 3 * 128), 128)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_stored_together_stay_together(kind, tmp_path):
    """64 rows each: a block of 128 would belong to two layers."""
    checkpoint, together = clip(tmp_path, kind, 3 * 64), encoding_of(kind).rows
    if 64 % together == 0:
        assert_rows_of_the_whole(checkpoint, 64)
        return
    (problem,) = checkpoint.problems
    assert problem.key == f"{FUSED}.weight"
    assert problem.cause.endswith(f"rows, which do not make 3 layers of a multiple of {together}")
    assert "another format" in problem.remedy
