"""Quantization as LightX2V's converter does it, in the source's own dtype, and the formats of files from elsewhere."""

from collections.abc import Callable
from functools import partial

import torch

from . import quantize_blocks, quantize_int4
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
    """The tensors with each selected `X.weight` [N, K] replaced by what `kind`, a key of KINDS, makes of it.

    model: a key of SELECTION. The rest stays as it is, and so does a weight whose shape the kind cannot hold.
    """
    place, words = SELECTION[model]
    result: Tensors = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        if len(parts) > place and parts[place] in words and name.endswith(".weight") and tensor.ndim == 2:
            layer = KINDS[kind](tensor) or {"weight": tensor}
            result |= {f"{name.removesuffix('weight')}{end}": stored for end, stored in layer.items()}
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


def _rows(kind: str, weight: torch.Tensor) -> dict[str, torch.Tensor]:
    codes, scale = quantize_rows(weight, kind)
    return {"weight": codes, "weight_scale": scale}


# kind -> weight [N, K] -> the layer's tensors, by what their names end in; None if the kind cannot hold the shape
KINDS: dict[str, Callable[[torch.Tensor], dict[str, torch.Tensor] | None]] = {
    "int8": partial(_rows, "int8"),
    "fp8": partial(_rows, "fp8"),
    "fp8-tensor": quantize_blocks.fp8_tensor,
    "block128": quantize_blocks.block128,
    "mxfp8": quantize_blocks.mxfp8,
    "nvfp4": quantize_blocks.nvfp4,
    "int4": quantize_int4.plain,
    "int4-compressed": quantize_int4.compressed_tensors,
    "int4-gptq": quantize_int4.gptq,
    "int4-marlin": quantize_int4.marlin,
}
