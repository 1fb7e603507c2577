"""Layers that get the same input quantize it once: for which modules of core that is right, and how a MODEL does it."""

from .apply import shared_activations

__all__ = ["shared_activations"]
