"""A changed weight, quantized again as it was held."""

import torch
from comfy_kitchen.tensor import QuantizedTensor


def requantized(held: QuantizedTensor, weight: torch.Tensor, **options) -> QuantizedTensor:
    """Float [N, K] -> a weight in the layout of `held`, with what `kept_beside` says; `options` come before that.

    comfy_kitchen has the same as a method, in ComfyUI 0.27 and newer.
    """
    return QuantizedTensor.from_float(weight, held._layout_cls, **{**kept_beside(held), **options})


def kept_beside(held: QuantizedTensor) -> dict:
    """What a quantized weight has beside codes and scales, and a change of the weight leaves as it is."""
    layout = held.layout_cls
    # core's own layouts have nothing to keep where comfy_kitchen does not ask
    return layout.requantize_kwargs(held) if hasattr(layout, "requantize_kwargs") else {}
