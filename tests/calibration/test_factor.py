"""SmoothQuant's formula, and what a factor is at the edges."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from x2v_quant.calibration.factor import column_maxima, smoothing_factor

maxima = st.lists(st.floats(0, 2.0**99, width=32), min_size=1, max_size=30)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.75, 1.0])
def test_it_is_the_formula_up_to_a_common_factor(alpha):
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.rand(50, generator=generator) + 0.1 for _ in range(2))
    found = smoothing_factor(x, w, alpha).double()
    expected = 1 / (x.double() ** alpha / w.double() ** (1 - alpha))
    assert found.max() == 1
    # values are rounded to bfloat16
    torch.testing.assert_close(found, expected / expected.max(), rtol=2**-8, atol=0)


def test_at_a_half_activations_and_weights_have_the_same_maxima():
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.rand(50, generator=generator) + 0.1 for _ in range(2))
    factor = smoothing_factor(x, w, 0.5)
    ratio = (x * factor) / (w / factor)
    torch.testing.assert_close(ratio, ratio[:1].expand(50), rtol=0.02, atol=0)


@settings(max_examples=60, deadline=None)
@given(x=maxima, w=maxima, alpha=st.floats(0, 1))
def test_any_maxima_give_factors_that_can_be_divided_by(x, w, alpha):
    count = min(len(x), len(w))
    factor = smoothing_factor(torch.tensor(x[:count]), torch.tensor(w[:count]), alpha)
    assert factor.dtype == torch.float32
    assert ((factor > 0) & (factor <= 1)).all()
    assert torch.equal(factor, factor.to(torch.bfloat16).float())
    # no channel is taken apart from the others further than what counts as a maximum at all
    assert factor.min() > 5e-5


def test_a_channel_that_was_never_seen_is_in_the_middle():
    x = torch.tensor([100.0, 0.0, 1.0, 1.0])
    factor = smoothing_factor(x, torch.ones(4), 0.5)
    assert factor[0] < factor[1] < factor[2]
    assert torch.equal(smoothing_factor(torch.zeros(4), torch.ones(4), 0.5), torch.ones(4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_layers_of_one_input_have_the_larger_maxima(dtype):
    weights = [torch.randn(n, 20).to(dtype) for n in (3, 7)]
    expected = torch.cat(weights).abs().amax(0).float()
    assert torch.equal(column_maxima(weights), expected)


def test_an_outlier_that_no_weight_answers_gets_the_smallest_factor():
    x, w = torch.tensor([500.0, 1.0, 2.0, 3.0]), torch.tensor([0.0, 1.0, 1.0, 1.0])
    factor = smoothing_factor(x, w, 0.5)
    assert factor[0] == factor.min() < factor[1]
