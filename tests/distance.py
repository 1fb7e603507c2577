"""How far a tensor is from another one, in the two ways that tests say it."""

import torch


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """|found - expected| / |expected|: the relative Frobenius distance, 0 for equal ones."""
    return float((found - expected).norm() / expected.norm())


def decibels(expected: torch.Tensor, found: torch.Tensor) -> float:
    """The same as a signal-to-noise ratio: 20 dB for a distance of 0.1, more for less."""
    return float(20 * torch.log10(expected.norm() / (found - expected).norm()))
