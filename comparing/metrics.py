"""Distances between what two models compute: outputs of layers, latents, pictures."""

import math

import torch

from ..common.decibels import CEILING, decibels

# the window and the constants of Wang et al., "Image quality assessment: from error visibility to structural
# similarity", IEEE Transactions on Image Processing 13(4), 2004, for values in 0 to 1
WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def energy(values: torch.Tensor) -> float:
    """The sum of the squares, in float64."""
    return float(values.double().square().sum())


def snr(true: torch.Tensor, got: torch.Tensor) -> float:
    """Signal-to-noise ratio in dB: the energy of `true` over that of the difference."""
    return decibels(energy(true), energy(true.double() - got.double()))


def relative_error(true: torch.Tensor, got: torch.Tensor) -> float:
    """|got - true| / |true| in the 2-norm; inf where only `true` is zero."""
    signal, noise = energy(true), energy(got.double() - true.double())
    if noise == 0:
        return 0.0
    return math.sqrt(noise / signal) if signal else math.inf


def psnr(true: torch.Tensor, got: torch.Tensor, ceiling: float = CEILING) -> float:
    """Peak signal-to-noise ratio in dB of values in 0 to 1 [frames, ...], over all of them at once."""
    noise = sum(energy(x.double() - y.double()) for x, y in zip(true, got, strict=True))
    return decibels(1.0, noise / true.numel(), ceiling)


def ssim(true: torch.Tensor, got: torch.Tensor) -> float:
    """Structural similarity of two videos [frames, height, width, channels] in 0 to 1: the mean over all windows that
    lie within a frame, channels and frames. Raises ValueError for frames smaller than a window."""
    if min(true.shape[1:3]) < WINDOW:
        raise ValueError(f"SSIM needs frames of {WINDOW} x {WINDOW} pixels or more, not {tuple(true.shape[1:3])}")
    # one frame at a time: a long video in float64 would not fit beside its model
    return sum(_similarity(x, y) for x, y in zip(true, got, strict=True)) / len(true)


def _similarity(true: torch.Tensor, got: torch.Tensor) -> float:
    """Of two frames [height, width, channels]."""
    x, y = (frame.double().movedim(-1, 0).unsqueeze(1) for frame in (true, got))
    mean_x, mean_y = _local_mean(x), _local_mean(y)
    variance_x = _local_mean(x * x) - mean_x.square()
    variance_y = _local_mean(y * y) - mean_y.square()
    covariance = _local_mean(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + C1) / (mean_x.square() + mean_y.square() + C1)
    structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
    return float((luminance * structure).mean())


def _local_mean(images: torch.Tensor) -> torch.Tensor:
    """images [B, 1, H, W] -> Gaussian-weighted means [B, 1, H - 10, W - 10]."""
    offsets = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    taps = torch.exp(-offsets.square() / (2 * SIGMA**2))
    taps = taps / taps.sum()
    return torch.nn.functional.conv2d(
        torch.nn.functional.conv2d(images, taps.reshape(1, 1, -1, 1)), taps.reshape(1, 1, 1, -1)
    )
