"""What comfy-kitchen's own w4a8 layout made of a few weights (tests/data/record_w4a8.py): case -> its tensors."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from x2v_quant.formats.w4a8 import MARKER

STORED = load_file(Path(__file__).parent / "data" / "w4a8.safetensors")
BESIDE = ("float", "dequantized")
# case -> input channels that are rotated together
ROTATIONS = {
    **{"256": 256, "64": 64, "16": 16, "quiet": 16, "heavy": 16, "seed": 256},
    **{"no table": 256, "groups of 32": 256, "float32 scales": 64, "6 bits": 256},
}
# those that the format has as they are
PLAIN = ("256", "64", "16", "quiet", "heavy")


def tensors(case: str) -> dict[str, torch.Tensor]:
    """By the end of their names, as ComfyUI saves them; "float" and "dequantized" are what they were made of and are
    read as."""
    return {key.rpartition(".")[2]: tensor for key, tensor in STORED.items() if key.rpartition(".")[0] == case}


def layer(case: str) -> dict[str, torch.Tensor]:
    """What a file has of the layer, but for the marker."""
    return {end: tensor for end, tensor in tensors(case).items() if end not in BESIDE}


def marker(**entries) -> torch.Tensor:
    return torch.tensor(list(json.dumps({"format": MARKER, **entries}).encode()), dtype=torch.uint8)
