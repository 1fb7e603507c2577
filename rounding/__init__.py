"""How a weight becomes codes: the steps smoothing, rotation, scales, rounding and packing, in this order; which of them
a method takes is a row of methods.py.

A new method is a row there; a new way to find scales or to round is a function in scales.py or a file like gptq.py.
"""

from .inputs import LayerInputs
from .methods import AUTO, CHOICES, METHODS, Method, method_for
from .weight import round_weight

__all__ = ["AUTO", "CHOICES", "METHODS", "LayerInputs", "Method", "method_for", "round_weight"]
