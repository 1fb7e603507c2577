"""ComfyUI's linear layers with a quantized weight: the layer, the arguments of its call, its parameters."""

from .quant_linear import QuantLinear, operations

__all__ = ["QuantLinear", "operations"]
