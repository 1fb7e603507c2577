"""LightCompress' affine_norms: factors of the layers behind them, folded into unquantized ones, or refused by name."""

import pytest
import torch

from x2v_quant.checkpoints import CheckpointError

N, K = 8, 16
BLOCK = "blocks.1"
FED = {"affine_norm1": ("self_attn.q", "self_attn.k"), "affine_norm3": ("ffn.0",)}
CODES = {"int8-channel": torch.int8, "fp8-channel": torch.float8_e4m3fn}


def vectors(norm, dtype=torch.float32):
    values = torch.rand(K, generator=torch.Generator().manual_seed(len(norm) + int(norm[-1]))) + 0.1
    return {f"{BLOCK}.{norm}.{end}": values.to(dtype, copy=True) for end in ("weight", "bias")}


@pytest.fixture
def smoothed(wan):
    """smoothed(format="int8-channel", dtype) -> tensors of a Wan whose second block is smoothed."""

    def make(format_name="int8-channel", dtype=torch.float32):
        tensors = wan(format_name)
        codes = torch.randint(-100, 100, (N, K), generator=torch.Generator().manual_seed(3)).to(CODES[format_name])
        tensors |= {f"{BLOCK}.ffn.0.weight": codes, f"{BLOCK}.ffn.0.weight_scale": torch.rand(N, 1)}
        for norm in FED:
            tensors |= vectors(norm, dtype)
        return tensors

    return make


@pytest.mark.parametrize("format_name", CODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_layers_behind_a_norm_get_its_factors(format_name, dtype, smoothed, opened):
    tensors = smoothed(format_name, dtype)
    checkpoint = opened(tensors)
    assert checkpoint.problems == []
    assert checkpoint.formats == {format_name: 2, f"{format_name}-smooth": 3}
    weights = checkpoint.load()
    assert not any("affine" in name for name in (*weights.plain, *weights.quantized))
    for norm, ends in FED.items():
        for end in ends:
            loaded = weights.quantized[f"{BLOCK}.{end}"]
            assert torch.equal(loaded.tensors["pre_quant_scale"], tensors[f"{BLOCK}.{norm}.weight"].float())
            weight = loaded.wrap(torch.float32).dequantize()
            name = f"{BLOCK}.{end}.weight"
            stored = tensors[name].float() * tensors[f"{name}_scale"].float()
            torch.testing.assert_close(weight, stored * tensors[f"{BLOCK}.{norm}.weight"].float())


def test_layers_do_not_share_memory(smoothed, opened):
    """Core pins and moves each layer's tensors by themselves."""
    quantized = opened(smoothed()).load().quantized
    places = {quantized[f"{BLOCK}.{end}"].tensors["pre_quant_scale"].data_ptr() for end in FED["affine_norm1"]}
    assert len(places) == 2


def test_a_prefix_and_diffusers_names_are_found(wan, write):
    """LightCompress exports diffusers' names, which LightX2V's converter turns round."""
    from x2v_quant.checkpoints.affine_norm import attach
    from x2v_quant.checkpoints.tensor_info import TensorInfo

    infos = {
        "blocks.0.affine_norm1.weight": TensorInfo((K,), "float32", 4 * K, None),
        "blocks.0.affine_norm1.bias": TensorInfo((K,), "float32", 4 * K, None),
        "blocks.0.attn1.to_q.weight": TensorInfo((N, K), "bfloat16", 2 * N * K, None),
        "blocks.0.attn2.to_q.weight": TensorInfo((N, K), "bfloat16", 2 * N * K, None),
    }
    assert set(attach(infos, [], set()).folded) == {"blocks.0.attn1.to_q.weight"}


@pytest.mark.parametrize("norm", FED)
@pytest.mark.parametrize("end", ["weight", "bias"])
def test_two_vectors_that_differ_are_refused_by_name(norm, end, smoothed, opened):
    tensors = smoothed()
    tensors[f"{BLOCK}.{norm}.{end}"] = tensors[f"{BLOCK}.{norm}.{end}"] + 0.25
    with pytest.raises(CheckpointError, match=rf"{BLOCK}\.{norm}\.bias differs from the weight beside it"):
        opened(tensors).load()


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_factor_that_cannot_be_is_refused(value, smoothed, opened):
    tensors = smoothed()
    for end in ("weight", "bias"):
        tensors[f"{BLOCK}.affine_norm1.{end}"] = torch.full((K,), value)
    with pytest.raises(CheckpointError, match=rf"{BLOCK}\.affine_norm1\.weight has a smoothing factor"):
        opened(tensors).load()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_an_unquantized_layer_gets_its_weight_back(dtype, smoothed, opened):
    """Its columns were divided by the factors as well: the product is the same, so they are folded back."""
    tensors = smoothed()
    name = f"{BLOCK}.self_attn.k"
    original = torch.randn((N, K), generator=torch.Generator().manual_seed(8))
    factor = tensors[f"{BLOCK}.affine_norm1.weight"]
    del tensors[f"{name}.weight_scale"]
    tensors[f"{name}.weight"] = (original / factor).to(dtype)
    checkpoint = opened(tensors)
    assert checkpoint.problems == []
    assert "1 unquantized weights are smoothed as well: the factor is folded back into them" in checkpoint.notes
    weights = checkpoint.load()
    assert weights.plain[f"{name}.weight"].dtype == dtype
    rounding = 1e-6 if dtype == torch.float32 else 2**-7
    torch.testing.assert_close(weights.plain[f"{name}.weight"].float(), original, rtol=rounding, atol=1e-9)
    assert weights.quantized[f"{BLOCK}.self_attn.q"].format == "int8-channel-smooth"


def test_an_unquantized_layer_is_not_folded_with_two_vectors(smoothed, opened):
    tensors = smoothed()
    for end in ("q", "k"):
        del tensors[f"{BLOCK}.self_attn.{end}.weight_scale"]
        tensors[f"{BLOCK}.self_attn.{end}.weight"] = torch.ones(N, K)
    tensors[f"{BLOCK}.affine_norm1.bias"] = torch.ones(K)
    with pytest.raises(CheckpointError, match=rf"{BLOCK}\.affine_norm1\.bias differs"):
        opened(tensors).load()


CHANGES = {
    "no bias": ({"affine_norm1.bias": None}, "affine_norm1.weight", "has no blocks.1.affine_norm1.bias beside it"),
    "no weight": ({"affine_norm3.weight": None}, "affine_norm3.bias", "has no blocks.1.affine_norm3.weight"),
    "width": ({"affine_norm1.bias": torch.ones(N)}, "affine_norm1.bias", "blocks.1.self_attn.q has 16 input channels"),
    "codes": ({"affine_norm1.weight": torch.ones(K, dtype=torch.int32)}, "affine_norm1.weight", "dtype int32"),
    "no layer": (
        {"ffn.0.weight": None, "ffn.0.weight_scale": None},
        "affine_norm3.weight",
        "smooths layers that are not there",
    ),
    "another format": (
        {"ffn.0.weight": torch.zeros((N, K // 2), dtype=torch.uint8), "ffn.0.weight_scale": torch.ones(N, 1)},
        "affine_norm3.weight",
        "smooths blocks.1.ffn.0, which is int4-g128",
    ),
}


@pytest.mark.parametrize("change,end,words", CHANGES.values(), ids=CHANGES)
def test_what_cannot_be_right_is_a_problem(change, end, words, smoothed, opened):
    tensors = smoothed()
    for name, tensor in change.items():
        tensors[f"{BLOCK}.{name}"] = tensor
    checkpoint = opened({key: tensor for key, tensor in tensors.items() if tensor is not None})
    (problem,) = checkpoint.problems
    assert problem.key == f"{BLOCK}.{end}"
    assert words in problem.cause
    assert problem.remedy.endswith(".")


def test_a_layer_with_a_problem_of_its_own_is_told_once(smoothed, opened):
    tensors = smoothed()
    del tensors[f"{BLOCK}.ffn.0.weight_scale"]
    (problem,) = opened(tensors).problems
    assert problem.cause == "has no scale"
