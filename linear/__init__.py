"""ComfyUI's linear layers with a quantized weight: the layer itself, what core hands to it, and its parameters."""

from .quant_linear import QuantLinear, operations

__all__ = ["QuantLinear", "operations"]
