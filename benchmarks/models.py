"""Model files of real shapes with random weights, written where a benchmark asks."""

from pathlib import Path

import safetensors.torch
import torch

from ..demo.quantize import quantized
from ..demo.wan import WanSize, dit


def wan_1_3b(blocks: int) -> WanSize:
    """Wan 2.1 1.3B has 30 blocks of this shape."""
    return WanSize(dim=1536, ffn=8960, blocks=blocks, text=4096)


def write_pair(folder: Path, size: WanSize, kind: str) -> tuple[Path, Path]:
    """The same random weights as a bfloat16 file and as LightX2V's quantized file (kind: "int8", "fp8"):
    (bf16 path, quantized path)."""
    weights = dit(0, size, image_to_video=False)
    dense = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in weights.items()}
    paths = folder / "dense.safetensors", folder / f"{kind}.safetensors"
    safetensors.torch.save_file(dense, paths[0])
    safetensors.torch.save_file(quantized(dense, kind, "dit"), paths[1])
    return paths
