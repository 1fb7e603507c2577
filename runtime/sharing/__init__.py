"""Shared activations: layers with the same input, such as q, k and v, quantize it once."""

from .apply import shared_activations

__all__ = ["shared_activations"]
