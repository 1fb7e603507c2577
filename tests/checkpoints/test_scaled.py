"""Codes with a scale where no linear layer is: convolutions and norms, read as what they stand for."""

import pytest
import torch

from x2v_quant.checkpoints import CheckpointError, read_outline

PATCH, NORM = "patch_embedding", "blocks.0.norm3"
SHAPES = {PATCH: (8, 16, 1, 2, 2), NORM: (8,)}
DTYPES = [torch.int8, torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.fixture
def coded(wan):
    """coded(layer, dtype, scale's name, scale) -> (tensors of a Wan, the codes)"""

    def make(layer, dtype=torch.float8_e4m3fn, name="weight_scale", scale=0.5):
        codes = (torch.randn(SHAPES[layer], generator=torch.Generator().manual_seed(0)) * 20).to(dtype)
        return {**wan(), f"{layer}.weight": codes, f"{layer}.{name}": torch.as_tensor(scale)}, codes

    return make


@pytest.mark.parametrize("name", ["weight_scale", "scale_weight", "weight_scale_inv"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", SHAPES)
def test_one_scale_for_all(layer, dtype, name, coded, opened):
    tensors, codes = coded(layer, dtype, name)
    checkpoint = opened(tensors)
    checkpoint.require("dit")
    weights = checkpoint.load()
    assert torch.equal(weights.plain[f"{layer}.weight"], (codes.float() * 0.5).to(torch.bfloat16))
    assert f"{layer}.{name}" not in weights.plain
    assert "1 quantized convolutions and norms become bfloat16 at load" in weights.notes
    assert read_outline(checkpoint).problems == []


@pytest.mark.parametrize("shape", [(8,), (8, 1), (1, 8), (8, 1, 1, 1, 1)])
def test_a_scale_for_each_row(shape, coded, opened):
    scale = torch.arange(1.0, 9)
    tensors, codes = coded(PATCH, scale=scale.reshape(shape))
    wanted = (codes.float() * scale.reshape(8, 1, 1, 1, 1)).to(torch.bfloat16)
    assert torch.equal(opened(tensors).load().plain[f"{PATCH}.weight"], wanted)


def test_input_scales_beside_it_change_nothing(coded, opened):
    tensors, _ = coded(PATCH)
    assert (
        opened({**tensors, f"{PATCH}.input_scale": torch.tensor(0.1)}).load().plain.keys()
        == opened(tensors).load().plain.keys()
    )


@pytest.mark.parametrize(
    "scale,words", [(float("nan"), "negative or not a number"), (-1.0, "negative"), (0.0, "would be lost")]
)
def test_scales_that_are_none(scale, words, coded, opened):
    tensors, _ = coded(PATCH, scale=scale)
    with pytest.raises(CheckpointError, match=words):
        opened(tensors).load()
    (problem,) = read_outline(opened(tensors)).problems
    assert (problem.key, words in problem.cause) == (f"{PATCH}.weight_scale", True)


@pytest.mark.parametrize("scale", [torch.ones(3), torch.ones(8, 16), torch.ones(8, dtype=torch.int32)])
def test_a_scale_of_another_shape_or_type_is_refused(scale, coded, opened):
    for name in ("weight_scale", "scale_weight"):
        problem = opened(coded(PATCH, name=name, scale=scale)[0]).problems[0]
        assert problem.key == f"{PATCH}.weight"
        assert "is not the weight of a linear layer" in problem.cause


def test_a_zero_scale_of_an_embedding_is_refused(fixtures, opened):
    file = torch.load(fixtures / "models_t5_umt5-xxl-enc-fp8.pth", weights_only=True)
    table = (file["token_embedding.weight"].float() * 50).to(torch.float8_e4m3fn)
    file |= {"token_embedding.weight": table, "token_embedding.weight_scale": torch.zeros(())}
    with pytest.raises(CheckpointError, match=r"token_embedding\.weight_scale is zero for weights that are not"):
        opened(file).load()
    (problem,) = read_outline(opened(file)).problems
    assert problem.key == "token_embedding.weight_scale"
