"""The distances between outputs, latents and videos, against formulas written out another way."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from x2v_quant.common.decibels import CEILING, decibels
from x2v_quant.comparing.metrics import psnr, relative_error, snr, ssim

seeds = st.integers(0, 2**32)
examples = settings(max_examples=15, deadline=None)


def video(seed, frames=2, height=17, width=23):
    return torch.rand((frames, height, width, 3), generator=torch.Generator().manual_seed(seed))


def ssim_of_image(x, y):
    """One channel, by scipy's Gaussian filter, whose radius of 3.5 sigma is the window's 5 pixels."""

    def mean(values):
        return gaussian_filter(values, 1.5, truncate=3.5)[5:-5, 5:-5]

    ux, uy = mean(x), mean(y)
    vx, vy, vxy = mean(x * x) - ux * ux, mean(y * y) - uy * uy, mean(x * y) - ux * uy
    c1, c2 = 1e-4, 9e-4
    return ((2 * ux * uy + c1) * (2 * vxy + c2) / ((ux**2 + uy**2 + c1) * (vx + vy + c2))).mean()


@examples
@given(seed=seeds, amount=st.floats(0.001, 1))
def test_ssim_is_the_mean_over_channels_and_frames(seed, amount):
    x, noise = video(seed), video(seed + 1)
    y = (1 - amount) * x + amount * noise
    a, b = x.double().numpy(), y.double().numpy()
    images = [ssim_of_image(a[f, :, :, c], b[f, :, :, c]) for f in range(2) for c in range(3)]
    assert ssim(x, y) == pytest.approx(np.mean(images), abs=1e-9)
    assert ssim(y, x) == pytest.approx(ssim(x, y))


def test_ssim_of_the_same_video_is_one_and_of_its_negative_is_below_zero():
    x = video(0)
    assert ssim(x, x) == pytest.approx(1)
    assert ssim(x, 1 - x) < 0


def test_ssim_needs_room_for_its_window():
    with pytest.raises(ValueError, match=r"11 x 11 .* \(10, 40\)"):
        ssim(video(0, height=10, width=40), video(1, height=10, width=40))


@examples
@given(seed=seeds, size=st.floats(1e-3, 0.5))
def test_psnr_of_a_constant_difference(seed, size):
    x = video(seed) / 2
    assert psnr(x, x + size) == pytest.approx(-20 * math.log10(size), abs=1e-3)


@examples
@given(seed=seeds, share=st.floats(1e-3, 1))
def test_noise_of_a_known_share(seed, share):
    generator = torch.Generator().manual_seed(seed)
    x, noise = (torch.randn(500, generator=generator, dtype=torch.float64) for _ in range(2))
    got = x + noise * (share * x.norm() / noise.norm())
    assert relative_error(x, got) == pytest.approx(share)
    assert snr(x, got) == pytest.approx(-20 * math.log10(share))


@pytest.mark.parametrize("signal,noise,expected", [(1, 0, CEILING), (1, 1e-30, CEILING), (10, 1, 10), (1, 100, -20)])
def test_decibels_end_at_the_ceiling(signal, noise, expected):
    assert decibels(signal, noise) == pytest.approx(expected)


@pytest.mark.parametrize(
    "signal,noise,expected",
    [
        (1, 0, math.inf),
        (1, 1e-30, 300),
        (0, 1, -math.inf),
        (1, math.inf, -math.inf),
        (1, math.nan, -math.inf),
        (math.nan, math.nan, -math.inf),
    ],
)
def test_decibels_without_a_ceiling(signal, noise, expected):
    assert decibels(signal, noise, math.inf) == pytest.approx(expected)


@pytest.mark.parametrize("true,got,expected", [(0, 0, 0), (0, 1, math.inf), (1, 1, 0), (1, 3, 2)])
def test_relative_error_of_nothing(true, got, expected):
    assert relative_error(torch.full((4,), float(true)), torch.full((4,), float(got))) == expected


def test_psnr_is_over_all_frames_at_once():
    x = torch.zeros(2, 12, 12, 3)
    y = x.clone()
    y[0] = 0.2
    assert psnr(x, y) == pytest.approx(-10 * math.log10(0.2**2 / 2), abs=1e-3)
