"""Smoothing for LightX2V's files: one factor behind each norm, which the saved file holds as the model does."""

import logging

import pytest
import torch
from distance import distance
from safetensors.torch import load_file

from x2v_quant.calibration import DEFAULT_ALPHA
from x2v_quant.calibration.recorder import calibrated
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import LIGHTX2V, X2V
from x2v_quant.loading.dit import load_dit
from x2v_quant.quantizing import QuantizeError, Smoother, quantize_model, select_in_model
from x2v_quant.quantizing.saving import save_model
from x2v_quant.quantizing.sharing import shared_smoother
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
# quantizes activations on every machine
REFERENCE = SchemeChoice(dit="reference", compute_dtype="fp32")
QKV = tuple(f"self_attn.{name}" for name in "qkv")
BEHIND_NORMS = (*QKV, "ffn.0")


@pytest.fixture
def calibration(dense, sample):
    """Of the demo's model, with a channel that is loud in every layer."""
    clone, calibration = calibrated(dense())
    sample(clone, steps=1)
    for maxima in calibration.maxima.values():
        maxima[7] *= 100
    for squares in calibration.squares.values():
        squares[7] *= 100**2
    return calibration


@pytest.fixture
def shared(calibration):
    """shared(model, format, lines) -> smoothed for LightX2V"""

    def run(model, format_name="int8-channel", lines=""):
        selection = select_in_model(model, format_name, lines, REFERENCE)
        smoother = shared_smoother(model, selection, calibration, DEFAULT_ALPHA)
        return quantize_model(model, selection, REFERENCE, smoother)

    return run


def factors(model):
    """Layer -> pre_quant_scale, of a quantized model's smoothed layers."""
    layers = model.model.x2v_plan.layers
    held = [name for name, entry in layers.items() if entry.choice.format.endswith("-smooth")]
    return {name: model.model.diffusion_model.get_submodule(name).weight._params.pre_quant_scale for name in held}


def test_layers_behind_a_norm_share_a_factor_and_no_others_are_smoothed(dense, shared, caplog):
    with caplog.at_level(logging.INFO, "x2v-quant"):
        found = factors(shared(dense()))
    blocks = {name.rpartition(".self_attn")[0] for name in found if name.endswith("self_attn.q")}
    assert set(found) == {f"{block}.{layer}" for block in blocks for layer in BEHIND_NORMS} and blocks
    for block in blocks:
        first, *others = (found[f"{block}.{layer}"] for layer in QKV)
        assert all(torch.equal(first, other) for other in others) and first[7] < 0.1
    assert "layers are not smoothed: after none of LightX2V's norms" in caplog.text


@pytest.mark.parametrize("package", ["file", "blocks"])
@pytest.mark.parametrize("format_name", ["int8-channel", "fp8-channel"])
def test_what_is_saved_for_lightx2v_is_the_same_model(format_name, package, dense, shared, sample, tmp_path):
    model = shared(dense(), format_name)
    path = tmp_path / ("model.safetensors" if package == "file" else "model")
    assert save_model(model, path, LIGHTX2V, package) > 0
    checkpoint = open_checkpoint(path)
    assert not checkpoint.problems
    assert not any(key.endswith("pre_quant_scale") for key in checkpoint.tensors)
    assert any(key.endswith("affine_norm1.bias") for key in checkpoint.tensors)
    assert torch.equal(sample(load_dit(str(path), REFERENCE)), sample(model))


def test_a_lora_behind_it_is_in_the_file(dense, shared, with_lora, sample, tmp_path):
    plain = shared(dense())
    model, path = with_lora(plain), tmp_path / "model.safetensors"
    save_model(model, path, LIGHTX2V)
    loaded = sample(load_dit(str(path), REFERENCE))
    assert distance(loaded, sample(model)) < 0.02 < 0.2 < distance(loaded, sample(plain))


def test_a_lora_in_front_of_it_is_in_the_factors(dense, shared, with_lora):
    one, two = (factors(shared(model))["blocks.0.self_attn.q"] for model in (dense(), with_lora(dense())))
    assert not torch.equal(one, two)


def test_neighbours_that_are_kept_or_of_another_format_leave_a_norm_of_ones_or_none(dense, shared, sample, tmp_path):
    model = shared(dense(), lines="blocks.0.self_attn.k = keep\nblocks.1.self_attn.k = nvfp4")
    path = tmp_path / "model.safetensors"
    save_model(model, path, LIGHTX2V)
    found = load_file(path)
    assert bool((found["blocks.0.affine_norm1.weight"] == 1).all())
    assert "blocks.1.affine_norm1.weight" not in found and "blocks.1.affine_norm3.weight" in found
    assert not open_checkpoint(path).problems
    assert torch.equal(sample(load_dit(str(path), REFERENCE)), sample(model))


def test_factors_of_their_own_are_refused_in_a_sentence(dense, calibration, tmp_path):
    model = dense()
    selection = select_in_model(model, "int8-channel", "", REFERENCE)
    made = quantize_model(model, selection, REFERENCE, Smoother(calibration, DEFAULT_ALPHA))
    with pytest.raises(QuantizeError, match=r"is smoothed by itself; files for lightx2v have one .* to x2v, or"):
        save_model(made, tmp_path / "model.safetensors", LIGHTX2V)
    assert not list(tmp_path.iterdir())


def test_a_smoothed_file_goes_through_unchanged(dense, shared, tmp_path):
    """Loaded from LightX2V's dialect and saved in it again, and by way of this pack's own."""
    first, second, third, last = (tmp_path / f"{name}.safetensors" for name in "abcd")
    save_model(shared(dense()), first, LIGHTX2V)
    save_model(load_dit(str(first), REFERENCE), second, LIGHTX2V)
    save_model(load_dit(str(first), REFERENCE), third, X2V)
    save_model(load_dit(str(third), REFERENCE), last, LIGHTX2V)
    wanted = load_file(first)
    for path in (second, last):
        found = load_file(path)
        assert found.keys() == wanted.keys()
        assert all(torch.equal(found[key].float(), wanted[key].float()) for key in wanted)
