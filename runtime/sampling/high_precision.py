"""Quantized layers that dequantize for a while: the weight is multiplied in the compute dtype, x is not quantized."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from ...kernels import dequant
from ...linear import QuantLinear

# what torch.compile puts into the names of a model's modules
COMPILED = "_orig_mod"


def plain_name(name: str) -> str:
    """The name of a module as in the file, compiled or not."""
    return ".".join(part for part in name.split(".") if part != COMPILED)


def named_linears(diffusion_model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Every linear layer, of any loader: its name as in the file -> the module."""
    return {
        plain_name(name): module
        for name, module in diffusion_model.named_modules()
        if hasattr(module, "in_features") and hasattr(module, "out_features") and hasattr(module, "weight")
    }


def quantized_layers(diffusion_model: torch.nn.Module) -> dict[str, QuantLinear]:
    """The layers that this pack has quantized: name -> module."""
    linears = named_linears(diffusion_model)
    return {n: m for n, m in linears.items() if isinstance(m, QuantLinear) and m.kernel is not None}


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
