"""Writes a Wan model as GGUF, in the way that ComfyUI-GGUF's own converter does. Needs the package gguf, and for
K-quants the library of ggml.py."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from . import ggml

ARCHITECTURE = "wan"
FEWEST = 1024  # values: smaller tensors stay float32
FULL_PRECISION = ".modulation"  # bare parameters, which the pack does not dequantize
SHAPE = "comfy.gguf.orig_shape."  # ComfyUI-GGUF's key of a tensor that lies in rows of another length


def write_gguf(
    tensors: dict[str, torch.Tensor],
    layers: set[str],
    type_name: str,
    path: Path,
    importance: Mapping[str, torch.Tensor] | None = None,
) -> Path:
    """layers: whose weights are quantized; type_name: a name in gguf.GGMLQuantizationType; importance: layer ->
    [K], an imatrix. Rows that are no multiple of the type's block lie in rows of one block, as that converter arranges
    those of SDXL; a weight that does not fill them stays bf16, like the other matrices. Vectors, and convolutions of
    five dimensions, which GGUF's readers in C do not know, are float32."""
    import gguf

    wanted = gguf.GGMLQuantizationType[type_name]
    block = gguf.GGML_QUANT_SIZES[wanted][0]
    writer = gguf.GGUFWriter(path=None, arch=ARCHITECTURE)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for name, tensor in tensors.items():
        layer, values = name.removesuffix(".weight"), tensor.float().numpy()
        if layer in layers and tensor.numel() % block == 0:
            if tensor.shape[1] % block:
                writer.add_array(f"{SHAPE}{name}", tuple(tensor.shape))
            packed = quantized(values, wanted, None if importance is None else importance[layer].numpy())
            writer.add_tensor(name, packed, raw_dtype=wanted)
            continue
        small = tensor.ndim != 2 or tensor.numel() <= FEWEST or name.endswith(FULL_PRECISION)
        kind = gguf.GGMLQuantizationType.F32 if small else gguf.GGMLQuantizationType.BF16
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file(path=path)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def quantized(values: np.ndarray, kind, importance: np.ndarray | None = None) -> np.ndarray:
    """float32 [N, K] -> uint8 rows of `kind`, of the length of a block where K is no multiple of it. importance: [K].
    By the package gguf where it can, else by GGML."""
    import gguf

    block, columns = gguf.GGML_QUANT_SIZES[kind][0], values.shape[1]
    if columns % block:
        values = values.reshape(-1, block)
        # which repeats only if a block is a whole number of rows
        importance = None if importance is None else np.tile(importance, block // columns)
    if importance is None and not kind.name.endswith("_K"):
        return gguf.quants.quantize(values, kind)
    return ggml.quantize(values, kind, importance)
