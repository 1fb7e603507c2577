"""Calibration: statistics of layers' inputs, recorded while a model samples, and SmoothQuant's factors from them."""

from .calibration import Calibration
from .errors import CalibrationError
from .factor import DEFAULT_ALPHA, smoothing_factor
from .smoothing import smooth_layers
from .strength import ALPHAS, Smoothing, find_smoothing

__all__ = [
    "ALPHAS",
    "DEFAULT_ALPHA",
    "Calibration",
    "CalibrationError",
    "Smoothing",
    "find_smoothing",
    "smooth_layers",
    "smoothing_factor",
]
