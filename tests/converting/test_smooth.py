"""Calibrated conversions: the error falls, and both dialects that can say so load as the same smoothed model."""

import pytest
import torch
from distance import distance
from older_comfyui import core_rotates_int8
from safetensors.torch import load_file, save_file

from x2v_quant.calibration import Calibration
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import COMFYUI, LIGHTX2V, X2V
from x2v_quant.converting import ConvertError
from x2v_quant.formats import FORMATS
from x2v_quant.kernels.reference import reference
from x2v_quant.layer_rules import parse_overrides

OUTLIERS, SIZE, TOKENS = (3, 40, 77), 200.0, 256
BEHIND_NORMS = {f"blocks.{i}.{end}" for i in range(2) for end in ("self_attn.q", "self_attn.k", "self_attn.v", "ffn.0")}


def inputs(k):
    """Activations [TOKENS, K] with a few channels far larger than the rest."""
    x = torch.randn(TOKENS, k, generator=torch.Generator().manual_seed(k))
    x[:, OUTLIERS] *= SIZE
    return x


@pytest.fixture(scope="module")
def planted(tensors, tmp_path_factory):
    """(path, weights, calibration): outlier channels whose columns are as small, as training makes them."""
    weights = {name: tensor.clone() for name, tensor in tensors.items()}
    calibration = Calibration()
    for name, tensor in weights.items():
        if name.startswith("blocks.") and tensor.ndim == 2 and name.endswith(".weight"):
            tensor[:, OUTLIERS] /= SIZE
            x = inputs(tensor.shape[1])
            calibration.add(name.removesuffix(".weight"), x.abs().amax(dim=0), x.square().sum(dim=0), TOKENS)
    calibration.calls = 1
    path = tmp_path_factory.mktemp("planted") / "wan.safetensors"
    save_file(weights, path)
    return path, weights, calibration


def errors(path, weights):
    """Layer -> relative error of its output for `inputs`, as the reference kernel computes it."""
    found = {}
    for layer, stored in open_checkpoint(path).load().quantized.items():
        row = FORMATS[stored.format]
        weight = stored.wrap(torch.float32)
        x = inputs(stored.shape[1])
        true = x @ weights[f"{layer}.weight"].float().t()
        y = reference(x, stored.format, weight._qdata, weight._params, None, row.activation)
        found[layer] = distance(y, true)
    return found


@pytest.mark.parametrize("alpha", [None, 0.75])
def test_smoothing_lowers_the_error_threefold(alpha, planted, converted):
    path, weights, calibration = planted
    plain = errors(converted(path, "plain.safetensors", format="int8-channel"), weights)
    smoothed = converted(path, format="int8-channel", dialect=X2V, calibration=calibration, alpha=alpha)
    assert open_checkpoint(smoothed).formats == {"int8-channel-smooth": 20}
    for layer, error in errors(smoothed, weights).items():
        assert error <= plain[layer] / 3, layer


@core_rotates_int8
def test_rotated_layers_are_smoothed_before_they_are_rotated(planted, converted, tmp_path):
    path, weights, calibration = planted
    plain, rotated, smoothed = (
        errors(converted(path, f"{index}.safetensors", dialect=X2V, **options), weights)
        for index, options in enumerate(
            (
                {"format": "int8-channel"},
                {"format": "int8-convrot"},
                {"format": "int8-convrot", "calibration": calibration},
            )
        )
    )
    held = open_checkpoint(tmp_path / "2.safetensors").formats
    assert set(held) <= {"int8-convrot-smooth", "int8-convrot-64-smooth"} and sum(held.values()) == 20
    for layer, error in smoothed.items():
        assert error <= rotated[layer] / 2 and rotated[layer] < plain[layer], layer


def test_lightx2vs_dialect_smooths_what_its_norms_feed(planted, converted):
    path, weights, calibration = planted
    plain = errors(converted(path, "plain.safetensors", format="int8-channel"), weights)
    smoothed = converted(path, format="int8-channel", dialect=LIGHTX2V, calibration=calibration)
    checkpoint = open_checkpoint(smoothed)
    assert {layer for layer, row in checkpoint.layers.items() if row.format.endswith("smooth")} == BEHIND_NORMS
    for layer, error in errors(smoothed, weights).items():
        assert error <= (plain[layer] / 3 if layer in BEHIND_NORMS else plain[layer] * 1.0001), layer
    found = load_file(smoothed)
    for block in range(2):
        for norm in ("affine_norm1", "affine_norm3"):
            weight, bias = (found[f"blocks.{block}.{norm}.{end}"] for end in ("weight", "bias"))
            assert weight.dtype == torch.bfloat16 and torch.equal(weight, bias)
            assert (weight[list(OUTLIERS)] < 0.2).all()


def test_a_norm_that_smooths_nothing_holds_ones(planted, converted):
    path, _, calibration = planted
    rules = tuple(parse_overrides("blocks.1.self_attn.k = keep"))
    smoothed = converted(path, format="int8-channel", calibration=calibration, overrides=rules)
    found = load_file(smoothed)
    assert (found["blocks.1.affine_norm1.weight"] == 1).all()
    assert (found["blocks.0.affine_norm1.weight"] != 1).any()
    # and what is kept is what it was
    weights = open_checkpoint(smoothed).load().plain
    assert torch.equal(weights["blocks.1.self_attn.k.weight"], load_file(path)["blocks.1.self_attn.k.weight"])


def test_before_a_format_that_is_never_smoothed_there_is_no_norm(planted, converted):
    """Not even one of ones: what reads the file would not know what to do with it."""
    path, weights, calibration = planted
    rules = tuple(parse_overrides("blocks.1.self_attn.k = nvfp4"))
    smoothed = converted(path, format="int8-channel", calibration=calibration, overrides=rules)
    norms = {key.removesuffix(".weight") for key in load_file(smoothed) if "affine_norm" in key and "weight" in key}
    assert norms == {"blocks.0.affine_norm1", "blocks.0.affine_norm3", "blocks.1.affine_norm3"}
    assert not open_checkpoint(smoothed).problems
    assert errors(smoothed, weights)["blocks.1.self_attn.q"] > errors(smoothed, weights)["blocks.0.self_attn.q"] * 3


def test_a_layer_that_is_kept_leaves_the_other_norm_of_its_block(planted, converted):
    path, _, calibration = planted
    rules = tuple(parse_overrides("blocks.1.self_attn.q = keep"))
    found = load_file(converted(path, format="int8-channel", calibration=calibration, overrides=rules))
    assert (found["blocks.1.affine_norm1.weight"] == 1).all()
    assert (found["blocks.1.affine_norm3.weight"] != 1).any()


def test_activations_without_outliers_are_left_alone(source, tensors, converted):
    calibration = Calibration(calls=1)
    for name, tensor in tensors.items():
        if name.startswith("blocks.") and tensor.ndim == 2 and name.endswith(".weight"):
            x = torch.randn(TOKENS, tensor.shape[1], generator=torch.Generator().manual_seed(1))
            calibration.add(name.removesuffix(".weight"), x.abs().amax(dim=0), x.square().sum(dim=0), TOKENS)
    formats = open_checkpoint(converted(source, format="int8-channel", dialect=X2V, calibration=calibration)).formats
    assert formats == {"int8-channel": 20}


def test_a_smoothed_file_keeps_its_smoothing_in_our_dialect(planted, converted):
    path, _, calibration = planted
    first = converted(path, "a.safetensors", format="int8-channel", dialect=X2V, calibration=calibration)
    one, two = load_file(first), load_file(converted(first, "b.safetensors", dialect=X2V))
    assert one.keys() == two.keys()
    for key in one:
        assert torch.equal(one[key], two[key]), key


def test_a_smoothed_file_is_quantized_anew_where_there_is_no_place_for_it(planted, converted):
    path, weights, calibration = planted
    first = converted(path, "a.safetensors", format="int8-channel", dialect=X2V, calibration=calibration)
    second = converted(first, "b.safetensors", dialect=LIGHTX2V)
    assert open_checkpoint(second).formats == {"int8-channel": 20}
    for layer, stored in open_checkpoint(second).load().quantized.items():
        value = stored.wrap(torch.float32).dequantize()
        true = weights[f"{layer}.weight"].float()
        assert (value - true).norm() <= 0.05 * true.norm(), layer


def test_comfyuis_dialect_refuses_it(planted, converted):
    path, _, calibration = planted
    with pytest.raises(ConvertError, match="has no place for smoothing"):
        converted(path, format="int8-channel", dialect=COMFYUI, calibration=calibration)
