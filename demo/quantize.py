"""Per-channel quantization as LightX2V's converter does it, in the source's own dtype."""

import torch

from .wan import Tensors

INT8_MAX = 127.0
FP8_MAX = 448.0
MIN_AMAX = 1e-5
# Which layers the converter quantizes: this part of the name, split at dots, is one of these words.
SELECTION = {
    "dit": (2, ("self_attn", "cross_attn", "ffn")),
    "t5": (2, ("attn", "ffn")),
    "clip": (3, ("attn", "mlp")),
}


def quantized(tensors: Tensors, kind: str, model: str) -> Tensors:
    """The tensors with each selected `X.weight` [N, K] as codes and an `X.weight_scale` [N, 1] beside it.

    kind: "int8" or "fp8"; model: a key of SELECTION. The rest stays as it is. Scales have the source's dtype.
    """
    place, words = SELECTION[model]
    result: Tensors = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        if len(parts) > place and parts[place] in words and name.endswith(".weight") and tensor.ndim == 2:
            result[name], result[f"{name}_scale"] = quantize_rows(tensor, kind)
        else:
            result[name] = tensor
    return {name: result[name] for name in sorted(result)}


def quantize_rows(weight: torch.Tensor, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """weight [N, K] -> (int8 or e4m3 codes [N, K], scale [N, 1]); weight is about codes * scale."""
    largest = INT8_MAX if kind == "int8" else FP8_MAX
    scale = weight.abs().amax(dim=1, keepdim=True).clamp(min=MIN_AMAX) / largest
    values = weight / scale
    if kind == "int8":
        return values.round().clamp(-INT8_MAX - 1, INT8_MAX).to(torch.int8), scale
    return values.clamp(-FP8_MAX, FP8_MAX).to(torch.float8_e4m3fn), scale
