"""LightCompress' affine_norms that do not go with the layers behind them."""

import torch

from .case import ErrorCase, file
from .quantized_layers import DAMAGED, READ
from .wan import wan

BLOCK = "blocks.1"
K = 256
VECTOR = torch.rand(K, generator=torch.Generator().manual_seed(1)) + 0.1
NORM = {f"{BLOCK}.affine_norm1.{end}": VECTOR.clone() for end in ("weight", "bias")}
NEEDS = "Smoothing is read with int8-channel and fp8-channel: get the model in one of them."


def smoothed(end: str, cause: str, remedy: str, drop: str = "", kind: str = "int8", **change) -> ErrorCase:
    """change: of the vectors, by what their names end in."""
    vectors = {**NORM, **{f"{BLOCK}.affine_norm1.{name}": tensor for name, tensor in change.items()}}
    vectors.pop(f"{BLOCK}.affine_norm1.{drop}", None)
    return file({**wan(kind), **vectors}, f"model.safetensors: {BLOCK}.affine_norm1.{end} {cause}. {remedy}")


CASES = {
    "half": smoothed("weight", f"has no {BLOCK}.affine_norm1.bias beside it", DAMAGED, drop="bias"),
    "type": smoothed("weight", "has dtype int32, not a float type", DAMAGED, weight=torch.ones(K, dtype=torch.int32)),
    "no layer": file(
        {**wan(), **{f"{BLOCK}.affine_norm3.{end}": VECTOR.clone() for end in ("weight", "bias")}},
        f"model.safetensors: {BLOCK}.affine_norm3.weight smooths layers that are not there. {DAMAGED}",
    ),
    "width": smoothed(
        "bias", f"has shape [8], {BLOCK}.self_attn.q has {K} input channels", DAMAGED, bias=torch.ones(8)
    ),
    "format": smoothed("weight", f"smooths {BLOCK}.self_attn.q, which is int4-g128", NEEDS, kind="int4"),
    "another norm": file(
        {**wan(), f"{BLOCK}.affine_norm2.weight": VECTOR},
        f"model.safetensors: {BLOCK}.affine_norm2.weight belongs to a smoothed model (SmoothQuant or AWQ) and would be",
        READ,
    ),
    "shift": smoothed(
        "bias",
        "differs from the weight beside it, so no factor for the layer's input stands for both",
        "Get a file that was exported without a shift of its own.",
        bias=VECTOR + 0.25,
    ),
    "factor": smoothed(
        "weight",
        "has a smoothing factor that is zero, negative or not a number",
        "The file is damaged: download it again.",
        weight=torch.zeros(K),
        bias=torch.zeros(K),
    ),
    "shift of a plain weight": file(
        {**wan(), **NORM, f"{BLOCK}.affine_norm1.bias": VECTOR + 0.25, f"{BLOCK}.self_attn.k.weight": torch.ones(8, K)},
        f"model.safetensors: {BLOCK}.affine_norm1.bias differs from the weight beside it",
        "Get a file",
    ),
}
