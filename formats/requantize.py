"""A changed weight, quantized again as it was stored."""

import torch
from comfy_kitchen.tensor import QuantizedTensor


def requantized(stored: QuantizedTensor, weight: torch.Tensor, **options) -> QuantizedTensor:
    """Float [N, K] -> a weight in the layout of `stored`, with what `kept_beside` says; `options` come before that.

    comfy_kitchen has the same as a method, in ComfyUI 0.27 and newer.
    """
    return QuantizedTensor.from_float(weight, stored._layout_cls, **{**kept_beside(stored), **options})


def kept_beside(stored: QuantizedTensor) -> dict:
    """What a quantized weight has beside codes and scales, and a change of the weight leaves as it is."""
    layout = stored.layout_cls
    # core's own layouts have nothing to keep where comfy_kitchen does not ask
    return layout.requantize_kwargs(stored) if hasattr(layout, "requantize_kwargs") else {}
