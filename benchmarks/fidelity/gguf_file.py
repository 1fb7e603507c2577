"""Writes a Wan model as GGUF, in the way that ComfyUI-GGUF's own converter does. Needs the package gguf."""

from pathlib import Path

import torch

ARCHITECTURE = "wan"
FEWEST = 1024  # values: smaller tensors stay float32
FULL_PRECISION = ".modulation"  # bare parameters, which the pack does not dequantize


def write_gguf(tensors: dict[str, torch.Tensor], layers: set[str], type_name: str, path: Path) -> Path:
    """layers: whose weights are quantized; type_name: a name in gguf.GGMLQuantizationType. A weight whose columns are
    no multiple of the type's block stays bf16, like the other matrices; vectors, and convolutions of five dimensions,
    which GGUF's readers in C do not know, are float32."""
    import gguf

    wanted = gguf.GGMLQuantizationType[type_name]
    block = gguf.GGML_QUANT_SIZES[wanted][0]
    writer = gguf.GGUFWriter(path=None, arch=ARCHITECTURE)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for name, tensor in tensors.items():
        small = tensor.ndim != 2 or tensor.numel() <= FEWEST or name.endswith(FULL_PRECISION)
        kind = gguf.GGMLQuantizationType.F32 if small else gguf.GGMLQuantizationType.BF16
        if name.removesuffix(".weight") in layers and tensor.shape[1] % block == 0:
            kind = wanted
        writer.add_tensor(name, gguf.quants.quantize(tensor.float().numpy(), kind), raw_dtype=kind)
    writer.write_header_to_file(path=path)
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
