"""The umt5 text encoder as ComfyUI publishes it (umt5_xxl_fp8_e4m3fn_scaled.safetensors), made from another one."""

from collections.abc import Mapping

import torch
from name_tables import targets_of

NAME = "umt5_xxl_fp8_e4m3fn_scaled.safetensors"
MARKER = "scaled_fp8"
LARGEST = torch.finfo(torch.float8_e4m3fn).max


def scaled_fp8(
    tensors: Mapping[str, torch.Tensor], spiece: bytes, marked: int = 2, shape: tuple[int, ...] = ()
) -> dict[str, torch.Tensor]:
    """tensors: not quantized, under Wan's own names -> what ComfyUI's file has: core's names, linear layers in fp8
    with one scale each, the rest in float16, the tokenizer. marked: numbers in the marker; shape: of a scale."""
    stored = {
        MARKER: torch.zeros(marked, dtype=torch.float8_e4m3fn),
        "spiece_model": torch.frombuffer(bytearray(spiece), dtype=torch.uint8),
    }
    for name, tensor in tensors.items():
        key = targets_of("umt5 encoder", name)[0].name
        if tensor.ndim == 2 and ("attn." in name or "ffn." in name):
            scale = tensor.float().abs().amax() / LARGEST
            stored[key] = (tensor.float() / scale).to(torch.float8_e4m3fn)
            stored[f"{key.removesuffix('.weight')}.scale_weight"] = scale.reshape(shape)
        else:
            stored[key] = tensor.half()
    return stored
