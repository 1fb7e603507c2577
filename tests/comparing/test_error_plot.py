"""The plot: a dot for each step, from the left, as high as its error."""

import math

import numpy
import pytest
from PIL import ImageColor

from x2v_quant.comparing.error_plot import COLOUR, DOT, LEFT, SIZE, error_plot, point


def has_dot(picture, place):
    x, y = place
    around = numpy.array(picture)[y - DOT + 2 : y + DOT - 1, x - DOT + 2 : x + DOT - 1]
    return bool((around == ImageColor.getrgb(COLOUR)).all())


@pytest.mark.parametrize("steps", [[0.1, 0.3, 0.2], [0.5], [0.0, 0.0], [1e-5, 2e-5], [2.0] * 60])
def test_every_step_has_its_dot(steps):
    picture = error_plot(steps)
    highest = max(steps) or 1.0
    assert all(has_dot(picture, point(step, error, len(steps), highest)) for step, error in enumerate(steps))


def test_time_runs_to_the_right_and_error_upwards():
    xs = [point(step, 0.1, 10, 1.0)[0] for step in range(10)]
    ys = [point(0, error / 10, 10, 1.0)[1] for error in range(11)]
    assert xs == sorted(set(xs)) and xs[0] >= LEFT and xs[-1] < SIZE[0]
    assert ys == sorted(set(ys), reverse=True) and ys[-1] > 0 and ys[0] < SIZE[1]
    assert ys[0] - ys[5] == pytest.approx(ys[5] - ys[10], abs=1)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_steps_that_are_no_number_have_no_dot(broken):
    picture = error_plot([0.1, 0.2, broken, broken])
    assert has_dot(picture, point(1, 0.2, 4, 0.2))
    blue = (numpy.array(picture) == ImageColor.getrgb(COLOUR)).all(-1).any(0)
    assert not blue[point(1, 0, 4, 1)[0] + DOT + 1 :].any()


def test_another_error_is_another_picture():
    assert error_plot([0.1, 0.2]).tobytes() != error_plot([0.1, 0.1]).tobytes()
    assert error_plot([math.nan]).size == SIZE
