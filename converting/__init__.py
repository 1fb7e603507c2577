"""From a model's file to a quantized one, layer by layer: what is read, which tensors come out, and how they are
written."""

from .errors import ConvertError

__all__ = ["ConvertError"]
