"""Quantizes loaded models from any loader: MODEL -> MODEL, CLIP -> CLIP."""

from .choosing import select_in_clip, select_in_model
from .errors import QuantizeError
from .model import quantize_clip, quantize_model
from .rotation import CHOICES as ROTATIONS
from .rounder import Rounder
from .smoother import Smoother

__all__ = [
    "ROTATIONS",
    "QuantizeError",
    "Rounder",
    "Smoother",
    "quantize_clip",
    "quantize_model",
    "select_in_clip",
    "select_in_model",
]
