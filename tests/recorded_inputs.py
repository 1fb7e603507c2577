"""A calibration with inputs of every layer in the blocks of a file, as if a model had been sampled."""

import torch
from safetensors import safe_open

from x2v_quant.calibration import Calibration


def recorded(path, tokens: int) -> Calibration:
    """Channels that depend on each other; q, k and v of a block get the same."""
    generator = torch.Generator().manual_seed(0)
    seen, shared = Calibration(calls=1), {}
    with safe_open(path, framework="pt") as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - a file is no mapping
    for name, shape in shapes.items():
        if not name.startswith("blocks.") or not name.endswith(".weight") or len(shape) != 2:
            continue
        layer, width = name.removesuffix(".weight"), shape[1]
        block, _, end = layer.rpartition(".")
        same = (block, "qkv" if end in "qkv" and "self" in block else end)
        if same not in shared:
            mixing = torch.randn((width // 4, width), generator=generator)
            x = torch.randn((tokens, width // 4), generator=generator) @ mixing / width**0.5
            shared[same] = (x + 0.2 * torch.randn((tokens, width), generator=generator)).to(torch.bfloat16)
        x = shared[same].float()
        seen.add(layer, x.abs().amax(dim=0), x.square().sum(dim=0), tokens)
        seen.inputs[layer] = shared[same]
    return seen
