"""The smoothing of a model's layers: which of them, which share a factor, and calibrations that do not fit."""

import pytest
import torch

from x2v_quant.calibration import DEFAULT_ALPHA, Calibration, CalibrationError, smooth_layers
from x2v_quant.calibration.smoothing import groups

K = 64
ATTENTION = [f"blocks.0.self_attn.{name}" for name in "qkv"]
LAYERS = {**dict.fromkeys(ATTENTION, "int8-channel"), "blocks.0.ffn.0": "fp8-channel", "blocks.0.ffn.2": "nvfp4"}


def weight_of(layer):
    return torch.randn((32, K), generator=torch.Generator().manual_seed(len(layer) + ord(layer[-1])))


@pytest.fixture
def calibration():
    """Of LAYERS, with an outlier that self-attention shares and another one in the feed-forward."""
    result = Calibration(calls=3)
    for index, layer in enumerate(LAYERS):
        x = torch.randn((500, K), generator=torch.Generator().manual_seed(0 if layer in ATTENTION else index))
        x[:, 7 if layer in ATTENTION else 9] *= 100
        result.add(layer, x.abs().amax(0), x.square().sum(0), 500)
    return result


def test_layers_whose_format_can_be_smoothed_are(calibration):
    steps = []
    found = smooth_layers(calibration, LAYERS, weight_of, progress=steps.append)
    assert list(found) == steps == [*ATTENTION, "blocks.0.ffn.0"]
    for name in ATTENTION:
        factor = found[name].pre_quant_scale
        assert factor.shape == (K,)
        assert factor.argmin() == 7
        assert found[name].after < 0.5 * found[name].before


def test_each_has_a_factor_of_its_own_unless_they_share(calibration):
    alone = smooth_layers(calibration, LAYERS, weight_of, DEFAULT_ALPHA)
    shared = smooth_layers(calibration, LAYERS, weight_of, DEFAULT_ALPHA, shared=True)
    q, k = (alone[name].pre_quant_scale for name in ATTENTION[:2])
    assert not torch.equal(q, k)
    assert all(torch.equal(shared[name].pre_quant_scale, shared[ATTENTION[0]].pre_quant_scale) for name in ATTENTION)


def test_layers_of_one_input_are_told_by_what_they_have_seen(calibration):
    """The keys of cross-attention see the same prompt in every block: they are no neighbours."""
    calibration.maxima["blocks.1.self_attn.q"] = calibration.maxima[ATTENTION[0]]
    layers = {**LAYERS, "blocks.1.self_attn.q": "int8-channel"}
    together = groups(calibration, layers)
    assert together == [ATTENTION, ["blocks.0.ffn.0"], ["blocks.0.ffn.2"], ["blocks.1.self_attn.q"]]
    layers[ATTENTION[1]] = "fp8-channel"
    assert [ATTENTION[0], ATTENTION[2]] in groups(calibration, layers)


def test_a_layer_that_was_never_called_is_left_out(calibration):
    del calibration.maxima[ATTENTION[1]]
    assert ATTENTION[1] not in smooth_layers(calibration, LAYERS, weight_of)


def test_maxima_alone_will_do(calibration):
    found = smooth_layers(Calibration(dict(calibration.maxima)), LAYERS, weight_of)
    assert found[ATTENTION[0]].pre_quant_scale.argmin() == 7


@pytest.mark.parametrize(
    "change,words",
    [
        (lambda c: c.maxima.clear(), "is empty: nothing was sampled"),
        (lambda c: c.maxima.update({ATTENTION[0]: torch.ones(K + 1)}), "saw 65 input channels of layer blocks.0"),
        (lambda c: c.maxima[ATTENTION[0]].fill_(float("nan")), r"Layer blocks\.0\.self_attn\.q got an input that is"),
    ],
    ids=["empty", "width", "nan"],
)
def test_a_calibration_that_cannot_be_used_is_refused(calibration, change, words):
    change(calibration)
    with pytest.raises(CalibrationError, match=words):
        smooth_layers(calibration, LAYERS, weight_of)


def test_a_calibration_of_another_model_is_refused(calibration):
    with pytest.raises(CalibrationError, match=r"knows none of the model's layers, layers\.0\.attn for instance"):
        smooth_layers(calibration, {"layers.0.attn": "int8-channel"}, weight_of)


def test_nothing_to_smooth_is_no_error(calibration):
    assert smooth_layers(calibration, {"layers.0.attn": "nvfp4"}, weight_of) == {}
