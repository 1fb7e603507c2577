"""SmoothQuant: how much of an activation's outliers moves into the weights, layer by layer."""

from .factor import DEFAULT_ALPHA, smoothing_factor
from .layers import smooth_layers
from .search import ALPHAS, Smoothing, find_smoothing

__all__ = ["ALPHAS", "DEFAULT_ALPHA", "Smoothing", "find_smoothing", "smooth_layers", "smoothing_factor"]
