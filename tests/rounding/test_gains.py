"""The line on what a calibration would bring: true of every format, and of what there is already."""

from collections import Counter

import pytest

from x2v_quant.formats import FORMATS, SMOOTHQUANT
from x2v_quant.layer_rules.format_names import CHOICES
from x2v_quant.rounding import METHODS, method_for
from x2v_quant.rounding.gains import GAINS, gains
from x2v_quant.rounding.methods import TOKENS


@pytest.mark.parametrize("calibrated", [False, True])
@pytest.mark.parametrize("name", CHOICES)
def test_it_is_said_of_every_format_that_gptq_rounds(name, calibrated):
    found = gains(Counter({name: 3, "no format": 9}), calibrated)
    assert bool(found) == (method_for(name, None, TOKENS) is METHODS["gptq"])
    assert all(f"makes {name} more exact" in line for line in found)


@pytest.mark.parametrize("name", GAINS)
def test_figures_are_a_gain_over_what_there_is(name):
    gain = GAINS[name]
    assert FORMATS[name].family == name
    best, smoothed = gain.with_inputs or gain.smoothed, gain.smoothed if name in SMOOTHQUANT else gain.without
    assert best < gain.without
    (alone,), (calibrated,) = gains(Counter([name]), False), gains(Counter([name]), True)
    assert f"{best} % off the 16-bit model, and {gain.without} % without it" in alone
    if smoothed is None or gain.with_inputs is None:
        assert calibrated.endswith(f"makes {name} more exact, by GPTQ")
    else:
        assert f"{gain.with_inputs} % off the 16-bit model, and {smoothed} % with this one" in calibrated
        assert gain.with_inputs < smoothed


def test_the_format_of_most_layers_counts():
    (line,) = gains(Counter({"int8-channel": 1, "mxfp4": 2}), False)
    assert line.startswith("a calibration (Calibrate) makes mxfp4 more exact: in our test ")


def test_a_format_that_was_not_measured_has_no_figures(monkeypatch):
    monkeypatch.delitem(GAINS, "mxfp4")
    (line,) = gains(Counter({"mxfp4": 2}), False)
    assert line == "a calibration (Calibrate) makes mxfp4 more exact, by GPTQ"
