"""What smoothing is for: outliers cost threefold less, and where there are none nothing gets worse."""

import pytest
import torch

from x2v_quant.calibration import ALPHAS, DEFAULT_ALPHA, find_smoothing
from x2v_quant.calibration.factor import awq_factor
from x2v_quant.calibration.output_error import drawn_activations, output_error, sample_rows
from x2v_quant.formats import FORMATS, SMOOTHED
from x2v_quant.kernels.reference import reference

N, K, TOKENS = 192, 512, 2048
OUTLIERS, TIMES = 4, 100
CHOICES = {"default": (DEFAULT_ALPHA,), "searched": ALPHAS}
choices = pytest.mark.parametrize("alphas", CHOICES.values(), ids=CHOICES)


def layer(kind, seed=0, n=N):
    """Weight [n, K] and activations [TOKENS, K] as models have them."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((TOKENS, K), generator=generator)
    weight = torch.randn((n, K), generator=generator) / K**0.5
    outliers = torch.randperm(K, generator=generator)[:OUTLIERS]
    if kind in ("outliers", "loud outliers"):
        x[:, outliers] *= TIMES
    if kind == "outliers":  # planted so that the output stays what it was, as norms and trained weights have them
        weight[:, outliers] /= TIMES
    elif kind == "widths":
        x *= torch.exp(torch.randn(K, generator=generator) * 0.3)
    elif kind == "spikes":  # every channel's maximum is one token's
        x[torch.arange(K), torch.arange(K)] *= 30
    return weight, x


def seen(x):
    """What a calibration knows of x."""
    return x.abs().amax(0), x.square().mean(0).sqrt()


def real_error(weight, x, format_name, factor=None):
    """Relative error on the activations themselves, not on what is drawn from their maxima."""
    error, size = output_error(weight, x, format_name if factor is None else SMOOTHED[format_name], factor)
    return (error / size) ** 0.5


@choices
@pytest.mark.parametrize("seed", range(3))
def test_planted_outliers_cost_a_third(alphas, seed):
    weight, x = layer("outliers", seed)
    smoothing = find_smoothing([weight], *seen(x), "int8-channel", alphas)
    plain = real_error(weight, x, "int8-channel")
    assert real_error(weight, x, "int8-channel", smoothing.pre_quant_scale) * 3 <= plain
    assert smoothing.before == pytest.approx(plain, rel=0.3)
    assert smoothing.after < 0.33 * smoothing.before


@pytest.mark.parametrize("seed", range(3))
def test_where_outliers_meet_large_weights_the_search_costs_a_third(seed):
    """There 0.75 moves so much into the weights that it is short of it: 2.5 times."""
    weight, x = layer("loud outliers", seed)
    plain = real_error(weight, x, "int8-channel")
    default, searched = (
        find_smoothing([weight], *seen(x), "int8-channel", alphas).pre_quant_scale for alphas in CHOICES.values()
    )
    assert real_error(weight, x, "int8-channel", searched) * 3 <= plain
    assert real_error(weight, x, "int8-channel", default) * 2.5 <= plain


@choices
@pytest.mark.parametrize("kind", ["even", "widths", "spikes"])
@pytest.mark.parametrize("format_name", ["int8-channel", "fp8-channel"])
@pytest.mark.parametrize("seed", range(2))
def test_without_outliers_nothing_gets_worse(alphas, kind, format_name, seed):
    weight, x = layer(kind, seed)
    smoothing = find_smoothing([weight], *seen(x), format_name, alphas)
    plain = real_error(weight, x, format_name)
    assert real_error(weight, x, format_name, smoothing.pre_quant_scale) <= 1.05 * plain


def test_a_layer_without_outliers_is_left_unsmoothed():
    weight, x = layer("even")
    smoothing = find_smoothing([weight], *seen(x), "int8-channel", (DEFAULT_ALPHA,))
    assert smoothing.pre_quant_scale is None
    assert smoothing.after > 0.95 * smoothing.before


def test_a_search_is_never_worse_than_the_default():
    weight, x = layer("loud outliers")
    default, searched = (find_smoothing([weight], *seen(x), "int8-channel", alphas) for alphas in CHOICES.values())
    assert searched.after <= default.after
    assert searched.alpha in ALPHAS
    assert default.alpha == DEFAULT_ALPHA


def test_layers_of_one_input_share_a_factor_that_helps_them_all():
    x = layer("loud outliers")[1]
    weights = [layer("even", seed, n)[0] for seed, n in enumerate((64, 96, 160))]
    factor = find_smoothing(weights, *seen(x), "int8-channel").pre_quant_scale
    for weight in weights:
        assert real_error(weight, x, "int8-channel", factor) * 3 <= real_error(weight, x, "int8-channel")


def test_what_is_measured_is_the_layer_itself():
    weight, x = layer("widths")
    held = FORMATS["int8-channel"].quantize(weight, torch.float32)
    y = reference(x, "int8-channel", held._qdata, held._params, None, "int8")
    exact = x @ weight.t()
    error, size = output_error(weight, x, "int8-channel")
    assert error == pytest.approx(float((y - exact).square().sum()))
    assert size == pytest.approx(float(exact.square().sum()))


def test_drawn_activations_are_as_wide_and_as_large_as_what_was_seen():
    maxima, deviations = torch.tensor([0.0, 1.0, 100.0, 2.0]), torch.tensor([0.0, 0.25, 20.0, 2.0])
    x = drawn_activations(maxima, deviations, tokens=4000)
    assert (x.abs().amax(0) <= maxima).all()
    torch.testing.assert_close(x.std(0)[:3], deviations[:3], rtol=0.05, atol=0)
    assert x[:, 3].abs().max() == 2
    assert torch.equal(x, drawn_activations(maxima, deviations, tokens=4000))


def test_sampled_rows_are_spread_over_the_whole_weight():
    weight = torch.arange(1000).view(-1, 1).expand(1000, 3)
    rows = sample_rows(weight, 5)
    assert rows[:, 0].tolist() == [0, 250, 500, 749, 999]
    assert rows.dtype == torch.float32
    assert sample_rows(weight[:4], 5).shape == (4, 3)


def test_awqs_factor_follows_the_size_of_the_inputs():
    """1 / s, the largest s times the smallest is 1, and nothing at strength 0."""
    deviations = torch.tensor([1.0, 4.0, 16.0, 0.0])
    factor = awq_factor(deviations, 0.5)
    assert torch.allclose(factor[:3] / factor[0], torch.tensor([1.0, 0.5, 0.25]), rtol=0.01)
    assert float(factor.max() * factor[2]) == pytest.approx(1, rel=0.02)
    assert factor[3] == factor.max()
    assert (awq_factor(deviations, 0.0) == 1).all()
    assert (awq_factor(torch.zeros(5), 0.5) == 1).all()
