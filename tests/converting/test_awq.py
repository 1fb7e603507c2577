"""Columns that matter more made larger before they are rounded (AWQ), and smoothing before GPTQ."""

import pytest
import torch
from rounded_files import COUNT, calibration_of, record_of, with_outliers

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import COMFYUI, LIGHTX2V, X2V
from x2v_quant.converting import ConvertError
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options
from x2v_quant.reports.checkpoint import inspect


def outlier_error(path, tensors, seen):
    """Of all outputs together, for the inputs of `seen`."""
    total = 0.0
    for layer, stored in open_checkpoint(path).load().quantized.items():
        x = seen.inputs[layer].float()
        difference = stored.wrap(torch.float32).dequantize() - tensors[f"{layer}.weight"].float()
        total += float((x @ difference.t()).square().sum())
    return total**0.5


def test_awq_makes_columns_that_matter_larger(source, tensors, converted):
    seen = with_outliers(calibration_of(tensors))
    nearest = converted(source, "a.safetensors", format="int4-g128", dialect=X2V, rounding="nearest")
    made = converted(source, "b.safetensors", format="int4-g128", dialect=X2V, rounding="awq", calibration=seen)
    assert open_checkpoint(made).formats == {"int4-g128-smooth": 20}
    assert record_of(made)["methods"] == {"awq": 20} and record_of(made)["smoothed"] == 20
    assert outlier_error(made, tensors, seen) < 0.5 * outlier_error(nearest, tensors, seen)
    assert not inspect(made)["problems"]


def test_awq_is_for_weights_alone(source, tensors, tmp_path, calibration):
    """int8 multiplies quantized activations: it is rounded as without being asked."""
    asked = Options("int8-channel", X2V, rounding="awq", calibration=calibration)
    report = convert(source, tmp_path / "a.safetensors", asked)
    assert report["rounding"] == {"gptq": 20}
    assert any(note.startswith("20 layers rounded with GPTQ: awq is not for their format") for note in report["notes"])


def test_a_search_has_awqs_factors(source, tensors, tmp_path):
    """What is measured is what is written."""
    seen, found = with_outliers(calibration_of(tensors)), {}
    for rounding in ("nearest", "awq"):
        asked = {"target_snr": -50.0, "candidates": ("int4-g128",), "dialect": X2V, "calibration": seen}
        found[rounding] = convert(source, tmp_path / f"{rounding}.safetensors", Options(rounding=rounding, **asked))
    assert found["awq"]["rounding"] == {"awq": 20}
    assert open_checkpoint(tmp_path / "awq.safetensors").formats == {"int4-g128-smooth": 20}
    ratios = {name: [entry["snr_db"] for entry in report["chosen"].values()] for name, report in found.items()}
    assert all(one > other + 3 for one, other in zip(ratios["awq"], ratios["nearest"], strict=True))
    error = outlier_error(tmp_path / "awq.safetensors", tensors, seen)
    assert error < 0.5 * outlier_error(tmp_path / "nearest.safetensors", tensors, seen)


def test_a_layer_without_awqs_factor_is_not_said_to_have_one(source, tensors, tmp_path):
    """Where all channels are alike, there is nothing to gain."""
    seen = calibration_of(tensors)
    for layer, x in seen.inputs.items():
        seen.squares[layer] = torch.full((x.shape[1],), float(COUNT))
    report = convert(source, tmp_path / "a.safetensors", Options("int4-g128", X2V, rounding="awq", calibration=seen))
    assert report["rounding"] == {"weighted": 20}
    assert any("20 layers rounded" in note and "do not make them more exact" in note for note in report["notes"])


@pytest.mark.parametrize("dialect", [COMFYUI, LIGHTX2V])
def test_awq_needs_a_place_for_its_factors(dialect, source, calibration, converted):
    with pytest.raises(ConvertError, match=r"for which the dialect .* has no place: choose the dialect x2v"):
        converted(source, format="int4-g128", dialect=dialect, rounding="awq", calibration=calibration)


def test_a_smoothed_layer_is_rounded_behind_its_factor(source, tensors, converted):
    """Outliers, which smoothing takes away first."""
    seen = with_outliers(calibration_of(tensors))
    made = converted(source, format="int8-channel", dialect=X2V, calibration=seen)
    assert open_checkpoint(made).formats == {"int8-channel-smooth": 20}
    assert record_of(made)["smoothed"] == 20 and record_of(made)["methods"] == {"gptq": 20}
