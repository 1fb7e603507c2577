"""Quantized layers that dequantize for a while: the weight is multiplied in the compute dtype, x is not quantized."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ...kernels import dequant
from ...linear import QuantLinear


@contextmanager
def in_high_precision(layers: Iterable[QuantLinear]) -> Iterator[None]:
    """Inside, those of the layers that quantize their input dequantize their weight instead; a kernel that multiplies
    unquantized input as it is stays, being as exact. Afterwards every layer has its own kernel again.

    The kernel is an attribute of the layer, which torch.compile guards: a compiled block is compiled twice, once for
    each precision. Models on several GPUs have layers of their own, so threads do not meet here.
    """
    held = [(layer, layer.kernel) for layer in layers if layer.kernel.activation != "float"]
    try:
        for layer, _ in held:
            layer.kernel = dequant.row(layer.format)
        yield
    finally:
        for layer, kernel in held:
            layer.kernel = kernel
