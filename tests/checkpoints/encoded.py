"""A small model file with one quantized layer, and what a loader makes of it."""

import json

import torch
from safetensors.torch import save_file

from x2v_quant.checkpoints import open_checkpoint

Q = "blocks.1.self_attn.q"
DIT = {"head.modulation": torch.zeros(1, 2, 8), "blocks.0.self_attn.q.weight": torch.zeros(8, 8)}


def weight(n, k, seed=0):
    return torch.randn((n, k), generator=torch.Generator().manual_seed(seed))


def put(path, layer, metadata=None):
    """A file with one quantized layer and its checkpoint. layer: tensors by the end of their name."""
    save_file({**DIT, **{f"{Q}.{end}": t.contiguous() for end, t in layer.items()}}, path, metadata)
    return open_checkpoint(path)


def dequantized(loaded):
    return loaded.wrap(torch.float32).dequantize()[: loaded.shape[0]]


def marker(name, **entries):
    return torch.tensor(list(json.dumps({"format": name, **entries}).encode()), dtype=torch.uint8)
