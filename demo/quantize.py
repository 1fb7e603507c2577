"""Quantization as LightX2V's converter does it, in the source's own dtype: a scale per row."""

from collections.abc import Callable

import torch

from .trained import Tensors

INT8_MAX = 127.0
FP8_MAX = 448.0
MIN_AMAX = 1e-5
# Which layers the converter quantizes: this part of the name, split at dots, is one of these words.
SELECTION = {
    "dit": (2, ("self_attn", "cross_attn", "ffn")),
    "t5": (2, ("attn", "ffn")),
    "clip": (3, ("attn", "mlp")),
}


def quantized(tensors: Tensors, layer_of: Callable[[torch.Tensor], Tensors | None], model: str) -> Tensors:
    """The tensors with each selected `X.weight` [N, K] replaced by what `layer_of` makes of it: the layer's tensors by
    what their names end in, or None if it cannot hold the shape, and the weight stays.

    model: a key of SELECTION. The rest stays as it is.
    """
    place, words = SELECTION[model]
    result: Tensors = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        if len(parts) > place and parts[place] in words and name.endswith(".weight") and tensor.ndim == 2:
            layer = layer_of(tensor) or {"weight": tensor}
            result |= {f"{name.removesuffix('weight')}{end}": stored for end, stored in layer.items()}
        else:
            result[name] = tensor
    return {name: result[name] for name in sorted(result)}


def rows(kind: str, weight: torch.Tensor) -> Tensors:
    """The tensors of a layer of `kind`, "int8" or "fp8", with a scale per row."""
    codes, scale = quantize_rows(weight, kind)
    return {"weight": codes, "weight_scale": scale}


def quantize_rows(weight: torch.Tensor, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """weight [N, K] -> (int8 or e4m3 codes [N, K], scale [N, 1]); weight is about codes * scale."""
    largest = INT8_MAX if kind == "int8" else FP8_MAX
    scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=MIN_AMAX) / largest
    values = weight / scale
    if kind == "int8":
        return values.round().clamp(-INT8_MAX - 1, INT8_MAX).to(torch.int8), scale
    return values.clamp(-FP8_MAX, FP8_MAX).to(torch.float8_e4m3fn), scale
