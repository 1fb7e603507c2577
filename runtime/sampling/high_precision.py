"""High precision for a while: quantized layers dequantize their weight and leave their input unquantized."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ...kernels import dequant
from ...linear import QuantLinear


@contextmanager
def in_high_precision(layers: Iterable[QuantLinear]) -> Iterator[None]:
    """While the context is open, layers that quantize their input use the kernel `dequant`; kernels that multiply
    unquantized input are as exact already and stay. Afterwards every layer has its own kernel again.

    torch.compile guards the attribute `kernel`, so a compiled block is compiled once for each precision. Each GPU has
    layers of its own, so threads do not interfere.
    """
    held = [(layer, layer.kernel) for layer in layers if layer.kernel.activation != "float"]
    try:
        for layer, _ in held:
            layer.kernel = dequant.OF_FORMAT[layer.format]
        yield
    finally:
        for layer, kernel in held:
            layer.kernel = kernel
