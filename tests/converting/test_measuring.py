"""What is measured of a layer is what the kernels compute with it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from whole_weight import quantize

from x2v_quant.calibration import Calibration, CalibrationError
from x2v_quant.checkpoints.encodings import LIGHTX2V
from x2v_quant.converting import ConvertError, measuring
from x2v_quant.converting.dialects import layer_tensors, writable
from x2v_quant.converting.measuring import Layer, measure, output_snr
from x2v_quant.converting.units import Spec
from x2v_quant.formats import FORMATS
from x2v_quant.kernels.reference import reference
from x2v_quant.layer_rules.overrides import KEEP


def weight_of(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) / shape[1] ** 0.5


def layer_of(weight, name="a"):
    kept = {f"{name}.weight": Spec(torch.bfloat16, tuple(weight.shape))}
    return Layer(tuple(weight.shape), lambda: lambda start, stop: weight[start:stop].clone(), "f: a.weight", kept)


@pytest.mark.parametrize("format_name", writable(LIGHTX2V))
@pytest.mark.parametrize("shape", [(384, 256), (96, 96)], ids=str)
def test_what_is_measured_is_the_reference_kernels_error(format_name, shape, monkeypatch):
    monkeypatch.setattr(measuring, "CHUNK", 128 * shape[1])  # the tall one in three parts
    weight = weight_of(shape)
    x = torch.randn((64, shape[1]), generator=torch.Generator().manual_seed(1))
    # in the first part alone, and no share of the output: what it does to a scale of all rows has to show in the others
    weight[0, 0], x[:, 0] = 1000.0, 0
    stored = quantize(lambda a, b: weight[a:b].clone(), shape, format_name, "here")
    row = FORMATS[format_name]
    wrapped = stored.wrap(torch.float32)
    y = reference(x, format_name, wrapped._qdata, wrapped._params, None, row.activation)
    expected = x @ weight.t()
    ratio = expected.square().sum() / (y - expected).square().sum()
    found = output_snr(layer_of(weight), [format_name], x)[format_name]
    assert found == pytest.approx(10 * math.log10(float(ratio)), abs=0.05)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300), st.integers(1, 5), st.sampled_from(writable(LIGHTX2V)))
def test_the_bytes_are_those_of_the_tensors(rows, columns, format_name):
    weight = weight_of((rows * 32, columns * 32))
    measured = measure({"a": layer_of(weight)}, [format_name], LIGHTX2V)["a"]
    stored = quantize(lambda a, b: weight[a:b].clone(), tuple(weight.shape), format_name, "here")
    real = sum(tensor.nbytes for tensor in layer_tensors(stored, LIGHTX2V).values())
    assert 0 <= measured[format_name].nbytes - real <= 400
    assert 0 <= measured[KEEP].nbytes - 2 * weight.numel() <= 200


def test_a_calibration_says_what_the_inputs_are():
    weight, outliers = weight_of((256, 256)), torch.ones(256)
    outliers[7] = 300
    calibration = Calibration()
    calibration.add("a", 4 * outliers, outliers.square() * 1000, 1000)
    weight[:, 7] /= 300
    layers = {"a": layer_of(weight), "b": layer_of(weight, "b")}
    measured = measure(layers, ["int8-channel", "fp8-channel"], LIGHTX2V, calibration)
    # int8 has one step for all channels of a token, fp8 one for each power of two
    assert measured["a"]["int8-channel"].snr < measured["a"]["fp8-channel"].snr
    # of b nothing has been seen
    assert measured["b"] == measure({"b": layers["b"]}, ["int8-channel", "fp8-channel"], LIGHTX2V)["b"]
    assert measured["b"]["int8-channel"].snr > measured["b"]["fp8-channel"].snr


@pytest.mark.parametrize(
    "name,width,match",
    [("c", 256, "knows none of the model's layers"), ("a", 128, "saw 128 input channels of layer a")],
)
def test_a_calibration_of_another_model(name, width, match):
    calibration = Calibration()
    calibration.add(name, torch.ones(width), torch.ones(width), 1)
    with pytest.raises(CalibrationError, match=match):
        measure({"a": layer_of(weight_of((256, 256)))}, ["int8-channel"], LIGHTX2V, calibration)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(value):
    weight = weight_of((256, 256))
    weight[200, 3] = value
    with pytest.raises(ConvertError, match=r"f: a\.weight contains NaN, infinity .* The model is damaged"):
        measure({"a": layer_of(weight)}, writable(LIGHTX2V), LIGHTX2V)


def test_a_format_that_cannot_hold_a_layer_is_no_candidate_for_it():
    layers = {"a": layer_of(weight_of((40, 48))), "b": layer_of(weight_of((64, 64)), "b")}
    measured = measure(layers, ["nvfp4", "int8-channel"], LIGHTX2V)
    assert measured["a"].keys() == {KEEP, "int8-channel"}
    assert measured["b"].keys() == {KEEP, "int8-channel", "nvfp4"}
    with pytest.raises(ConvertError, match="No candidate can store any layer: a cannot be nvfp4"):
        measure({"a": layers["a"]}, ["nvfp4"], LIGHTX2V)


def test_zeros_cost_nothing():
    assert output_snr(layer_of(torch.zeros(64, 64)), ["int8-channel", "nvfp4"], torch.ones(4, 64)) == {
        "int8-channel": math.inf,
        "nvfp4": math.inf,
    }


@pytest.mark.parametrize("format_name", writable(LIGHTX2V))
@pytest.mark.parametrize("kind", ["heads", "heavy tails", "outlier rows"])
def test_some_rows_tell_within_half_a_decibel_what_all_would(kind, format_name, monkeypatch):
    """Weights whose parts differ as trained ones do: in size from head to head, in tails, in a few large rows."""
    generator = torch.Generator().manual_seed(2)
    weight = weight_of((3072, 256))
    if kind == "heads":
        weight *= torch.exp(torch.randn((24, 1, 1), generator=generator)).expand(24, 128, 1).reshape(-1, 1)
    elif kind == "heavy tails":
        weight *= torch.exp(torch.randn(weight.shape, generator=generator))
    else:
        weight[torch.randperm(3072, generator=generator)[:60]] *= 20
    x = torch.randn((64, 256), generator=generator)
    assert len(weight) > measuring.SAMPLED
    some = output_snr(layer_of(weight), [format_name], x)[format_name]
    monkeypatch.setattr(measuring, "SAMPLED", len(weight))
    every = output_snr(layer_of(weight), [format_name], x)[format_name]
    assert some == pytest.approx(every, abs=0.5)


def test_of_a_tall_weight_only_some_rows_are_read():
    weight, read = weight_of((3072, 256)), []

    def rows(start, stop):
        read.append(stop - start)
        return weight[start:stop].clone()

    output_snr(Layer((3072, 256), lambda: rows, "f: a.weight", {}), ["int8-channel"], torch.ones(4, 256))
    assert sum(read) == measuring.SAMPLED
