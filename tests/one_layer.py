"""A file of a Wan in which one layer is stored as an encoding has it."""

import json

import torch
from safetensors.torch import save_file

from x2v_quant.benchmarks.quantize import KINDS

Q = "blocks.1.self_attn.q"
N, K = 128, 256
DIT = {"head.modulation": torch.zeros(1, 2, 8), "blocks.0.self_attn.q.weight": torch.zeros(8, 8)}


def marker(name):
    return torch.tensor(list(json.dumps({"format": name}).encode()), dtype=torch.uint8)


def made(kind):
    return KINDS[kind](torch.randn((N, K), generator=torch.Generator().manual_seed(0)))


def put(path, layer):
    save_file({**DIT, **{f"{Q}.{end}": t for end, t in layer.items() if t is not None}}, path)
    return path
