"""Compares two forms of one model: the error of each step, of each layer and of the result."""

from .errors import CompareError

__all__ = ["CompareError"]
