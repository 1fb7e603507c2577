"""Counted work over a measured speed: within a factor of the time that rounding takes."""

import time

import pytest
import torch

from x2v_quant.formats import FORMATS
from x2v_quant.rounding import METHODS, LayerInputs, round_weight
from x2v_quant.rounding.estimate import GPU, Work, measured, seconds, words

CPU = torch.device("cpu")
CHUNK = 1 << 24
GRID = FORMATS["int4-g128"].grid


@pytest.mark.slow
@pytest.mark.parametrize("format_name,shape", [("int4-g128", (1024, 1024)), ("int8-channel", (256, 1536))])
def test_it_is_within_a_factor_of_three(format_name, shape):
    """The fastest of several of both, as others compute on this machine too."""
    weight, tokens = torch.randn(shape) * 0.02, torch.randn(1024, shape[1])
    times, estimates = [], []
    for _ in range(3):
        started = time.perf_counter()
        round_weight(weight, format_name, METHODS["gptq"], LayerInputs(tokens))
        times.append(time.perf_counter() - started)
        work = Work(shape, FORMATS[format_name].grid, len(tokens))
        estimates += seconds([work], measured(CPU, CHUNK))
    assert 1 / 3 < min(estimates) / min(times) < 3


def test_what_layers_share_is_counted_once():
    q = Work((64, 4096), GRID, 2048, "q")
    alone, first, second, third = seconds([q, Work((64, 4096), GRID, 2048, "o"), q, q], GPU)
    assert alone == first == second
    shared = 1.5 * 2048 * 4096**2 / GPU.product + 4096**3 / GPU.factor
    assert first - third == pytest.approx(shared)
    assert seconds([Work((64, 4096), GRID, 2048)] * 2, GPU) == [alone] * 2


def test_more_work_takes_longer():
    small = Work((512, 1024), GRID, 512)
    for larger in (Work((1024, 1024), GRID, 512), Work((512, 2048), GRID, 512), Work((512, 1024), GRID, 4096)):
        assert seconds([larger], GPU) > seconds([small], GPU)
    searched, nearest = Work((512, 1024), GRID), Work((512, 1024), None)
    assert seconds([small], GPU) > seconds([searched], GPU)
    assert seconds([nearest], GPU)[0] > 0


def test_measuring_takes_no_time():
    started = time.process_time()
    measured(CPU, CHUNK).sweep(GRID)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "duration,said",
    [
        (3, "less than a minute"),
        (60, "about 1 minute"),
        (1500, "about 25 minutes"),
        (3600, "about 60 minutes"),
        (9000, "about 2.5 hours"),
    ],
)
def test_words(duration, said):
    assert words(duration) == said
