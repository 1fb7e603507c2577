"""Inputs by which small models are rounded, and what the files say of it."""

import json

import torch
from safetensors import safe_open

from x2v_quant.calibration import Calibration
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.rounding.record import KEY

COUNT = 800
# layers with the same inputs
SHARED = {"k": "q", "v": "q"}


def tokens_of(layer, width):
    """Channels that depend on each other; the same for q, k and v of a block."""
    block, _, end = layer.rpartition(".")
    seed = sum(map(ord, f"{block}.{SHARED.get(end, end)}"))
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn((COUNT, width // 4), generator=generator) @ torch.randn(
        (width // 4, width), generator=generator
    )
    return (mixed / width**0.5 + 0.2 * torch.randn((COUNT, width), generator=generator)).to(torch.bfloat16)


def calibration_of(tensors, tokens=True):
    seen = Calibration(calls=2)
    made = {}
    for name, tensor in tensors.items():
        layer = name.removesuffix(".weight")
        if name.startswith("blocks.") and tensor.ndim == 2 and name.endswith(".weight"):
            x = tokens_of(layer, tensor.shape[1])
            seen.add(layer, x.float().abs().amax(dim=0), x.float().square().sum(dim=0), COUNT)
            if tokens:
                seen.inputs[layer] = made.setdefault((tuple(x.shape), float(x.float().sum())), x)
    return seen


def errors(path, tensors):
    """Layer -> error of its output for its inputs, of the weights alone."""
    found = {}
    for layer, stored in open_checkpoint(path).load().quantized.items():
        x = tokens_of(layer, stored.shape[1]).float()
        difference = stored.wrap(torch.float32).dequantize() - tensors[f"{layer}.weight"].float()
        found[layer] = float((x @ difference.t()).norm())
    return found


def record_of(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()[KEY])


def with_outliers(seen):
    """The same with one channel that is far larger than the others."""
    for layer, x in seen.inputs.items():
        seen.inputs[layer] = x.clone()
        seen.inputs[layer][:, 3] *= 100
        seen.maxima[layer][3] *= 100
        seen.squares[layer][3] *= 1e4
    return seen
