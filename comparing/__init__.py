"""Two forms of one model, side by side: what each step, each layer and the result lose."""

from .errors import CompareError

__all__ = ["CompareError"]
