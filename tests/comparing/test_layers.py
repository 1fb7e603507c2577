"""Layers on recorded inputs: which rows are kept, and what is measured on them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from x2v_quant.comparing.layers import FEWEST, MEMORY, ROWS, Layer, Layers

pytestmark = pytest.mark.usefixtures("inference")
N, K = 24, 16
SIZES = {"a": (N, K)}


def linear(scale=1.0, dtype=torch.float32):
    made = torch.nn.Linear(K, N, dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    made.weight.copy_(scale * torch.randn((N, K), generator=generator))
    made.bias.zero_()
    return made


def both(reference, candidate, x, steps=(0,), dtype=torch.float32):
    """Each step of x [steps, tokens, K] through both."""
    layers = Layers(SIZES, steps)
    for step in steps:
        layers.record(step, "a", reference, x[step])
    for step in steps:
        layers.measure(step, "a", candidate, torch.zeros_like(x[step], dtype=dtype))
    (found,) = layers.found()
    return found


class Counting(torch.nn.Linear):
    """Keeps what it is shown."""

    def forward(self, x):
        self.shown = x
        return super().forward(x)


@pytest.mark.parametrize("db", [10, 20, 40])
def test_a_weight_that_is_off_by_a_share(db):
    got = both(linear(), linear(1 + 10 ** (-db / 20)), torch.randn(1, 50, K))
    assert got.snr == pytest.approx(db, abs=0.01)
    assert got.share == pytest.approx(10 ** (-db / 10), rel=1e-2)


def test_noise_of_all_steps_counts():
    x = torch.randn(3, 50, K)
    whole = both(linear(), linear(1.1), x, (0, 1, 2))
    parts = [both(linear(), linear(1.1), x[step : step + 1]) for step in range(3)]
    assert whole.signal == pytest.approx(sum(part.signal for part in parts), rel=0.2)
    assert whole.snr == pytest.approx(20, abs=0.01)


def test_a_step_is_shown_its_own_rows():
    x = torch.stack([torch.full((5, K), 1.0), torch.full((5, K), 2.0)])
    layers, candidate = Layers(SIZES, (0, 1)), Counting(K, N)
    for step in (0, 1):
        layers.record(step, "a", linear(), x[step])
    for step in (1, 0):
        layers.measure(step, "a", candidate, torch.zeros(1, K))
        assert candidate.shown.unique().tolist() == [step + 1]


def test_a_candidate_computes_in_its_own_dtype():
    found = both(linear(), linear(dtype=torch.bfloat16), torch.randn(1, 50, K), dtype=torch.bfloat16)
    assert (found.reference, found.candidate) == ("float32", "bfloat16")
    assert 40 < found.snr < 60


@settings(max_examples=20, deadline=None)
@given(tokens=st.integers(1, 400), distinct=st.integers(1, 400), batch=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_rows_are_of_the_input_and_differ(tokens, distinct, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn((distinct, K), generator=generator)
    x = values[torch.randint(distinct, (batch, tokens), generator=generator)]
    layers, candidate = Layers(SIZES, (0,)), Counting(K, N)
    layers.record(0, "a", linear(), x)
    layers.measure(0, "a", candidate, x)
    shown = candidate.shown
    assert 1 <= len(shown) <= min(ROWS, distinct)
    assert len(shown.unique(dim=0)) == len(shown)
    assert all((row == x).all(-1).any() for row in shown)


@pytest.mark.parametrize("layers,expected", [(1, ROWS), (400, 21), (10**5, FEWEST)])
def test_memory_is_bounded(layers, expected):
    """400 layers of 5120 x 5120 at three steps are those of a model of 14 billion values."""
    sizes = {f"layer{number}": (5120, 5120) for number in range(layers)}
    keeper, candidate = Layers(sizes, (0, 1, 2)), Counting(8, 8)
    x = torch.randn(1000, 8)
    keeper.record(0, "layer0", torch.nn.Linear(8, 8), x)
    keeper.measure(0, "layer0", candidate, x)
    assert len(candidate.shown) == expected
    if expected > FEWEST:
        assert expected * 3 * layers * 2 * 5120 * 4 <= MEMORY


def test_what_the_reference_did_not_call_is_passed_over():
    layers = Layers(SIZES, (0,))
    layers.measure(0, "a", linear(), torch.zeros(1, K))
    assert layers.found() == ()


@pytest.mark.parametrize(
    "signal,noise,snr,share",
    [
        (1.0, 0.0, math.inf, 0.0),
        (0.0, 0.0, math.inf, 0.0),
        (1.0, math.nan, -math.inf, math.inf),
        (1.0, math.inf, -math.inf, math.inf),
        (math.nan, math.nan, -math.inf, math.inf),
        (0.0, 1.0, -math.inf, math.inf),
        (100.0, 1.0, 20.0, 0.01),
    ],
)
def test_the_ends_of_the_scale(signal, noise, snr, share):
    found = Layer("a", (N, K), "float32", "float32", signal, noise)
    assert (found.snr, found.share) == (pytest.approx(snr), share)
