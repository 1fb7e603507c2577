"""Signal-to-noise ratios in dB."""

import math

# dB beyond which a difference is float32's own rounding; also the value for identical results
CEILING = 100.0
# for whoever reads some
SCALE = "Higher dB is better; 6 dB more is half the error."


def decibels(signal: float, noise: float, ceiling: float = CEILING) -> float:
    """10 log10(signal / noise) of two energies, at most `ceiling`; -inf if the noise is infinite or NaN, or there is no
    signal."""
    if noise <= signal * 10 ** (-ceiling / 10):
        return ceiling
    ratio = signal / noise
    return 10 * math.log10(ratio) if ratio > 0 else -math.inf
