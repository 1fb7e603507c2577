"""A search measures layers as they will be rounded, for inputs that nothing was rounded by."""

import math

import pytest
import torch
from recorded_inputs import recorded

from x2v_quant.calibration.output_error import TOKENS
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import COMFYUI, X2V
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options
from x2v_quant.formats import FORMATS
from x2v_quant.kernels.reference import reference

# dB that every format reaches
ANY = -50.0
COUNT = 1200


@pytest.fixture
def calibration(source):
    return recorded(source, COUNT)


def search(source, target, **options):
    options = {"target_snr": ANY, "candidates": ("int4-g128",), "dialect": X2V, **options}
    return convert(source, target, Options(**options))


def lowest(report):
    return min(entry["snr_db"] for entry in report["chosen"].values())


def ratios(path, tensors, calibration, tokens):
    """Layer -> dB of its output for those of the recorded inputs, as the reference kernel computes the file's layer."""
    found = {}
    for layer, stored in open_checkpoint(path).load().quantized.items():
        row, weight = FORMATS[stored.format], stored.wrap(torch.float32)
        x = calibration.inputs[layer][tokens].float()
        true = x @ tensors[f"{layer}.weight"].float().t()
        y = reference(x, stored.format, weight._qdata, weight._params, None, row.activation)
        found[layer] = 10 * math.log10(float(true.square().sum() / (y - true).square().sum()))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("format_name", ["int4-g128", "nvfp4"])
def test_gptq_is_measured_where_it_will_be_used(format_name, source, tensors, calibration, tmp_path):
    """And by inputs that it has not seen: by those of the file the error would be smaller than it is."""
    asked = {"candidates": (format_name,), "calibration": calibration}
    nearest = search(source, tmp_path / "a.safetensors", rounding="nearest", **asked)
    found = search(source, tmp_path / "b.safetensors", **asked)
    assert found["rounding"] == {"gptq": 20}
    assert lowest(found) > lowest(nearest) + 1.5
    # the file is rounded by all inputs, those that were measured with included
    real = ratios(tmp_path / "b.safetensors", tensors, calibration, slice(TOKENS))
    for layer, entry in found["chosen"].items():
        assert entry["snr_db"] < real[layer] + 0.1
        assert entry["snr_db"] > real[layer] - 2.5


def test_what_is_rounded_to_the_nearest_has_the_ratio_that_is_printed(source, tensors, calibration, tmp_path):
    target = tmp_path / "a.safetensors"
    report = search(source, target, rounding="nearest", calibration=calibration)
    real = ratios(target, tensors, calibration, slice(TOKENS))
    for layer, entry in report["chosen"].items():
        assert entry["snr_db"] == pytest.approx(real[layer], abs=0.1)


@pytest.mark.slow
def test_fewer_layers_need_more_bits(source, calibration, tmp_path):
    """What the quality of int4 to the nearest is not enough for, GPTQ's is."""
    names = ("int4-g128", "int8")
    target = lowest(search(source, tmp_path / "a.safetensors", rounding="nearest", calibration=calibration)) + 2
    asked = {"target_snr": target, "candidates": names, "dialect": X2V, "calibration": calibration}
    nearest = convert(source, tmp_path / "b.safetensors", Options(rounding="nearest", **asked))
    best = convert(source, tmp_path / "c.safetensors", Options(**asked))
    assert best["formats"]["int4-g128"] > nearest["formats"].get("int4-g128", 0)
    assert best["bytes"] < nearest["bytes"]


@pytest.mark.slow
def test_comfyuis_dialect_has_it_too(source, calibration, tmp_path):
    report = search(source, tmp_path / "a.safetensors", candidates=("nvfp4",), dialect=COMFYUI, calibration=calibration)
    assert report["rounding"] == {"gptq": 20}


def test_too_few_inputs_are_drawn_as_before(source, tmp_path):
    report = search(source, tmp_path / "a.safetensors", calibration=recorded(source, 3))
    assert lowest(report) > 5
