"""The smallest file that is a Wan with a quantized layer: refused, or not, by its header alone."""

import json

import torch

from x2v_quant.benchmarks.quantize import KINDS

LAYER = "blocks.1.self_attn.q"
N, K = 128, 256
F8 = torch.float8_e4m3fn
# of models with fewer tensors than ComfyUI needs: what a header says is checked first
WAN = {"head.modulation": torch.zeros(1, 2, 8), "blocks.0.self_attn.q.weight": torch.zeros(8, 8)}

Tensors = dict[str, torch.Tensor]


def made(kind: str, n: int = N, k: int = K) -> Tensors:
    """A layer [n, k] as `kind` of KINDS has it, by what its names end in."""
    return dict(KINDS[kind](torch.randn((n, k), generator=torch.Generator().manual_seed(0))))


def wan(kind: str | None = "int8", layer: str = LAYER, **change) -> Tensors:
    """A Wan with one layer of `kind`, or none; change: by what its names end in, None takes one away."""
    parts = {**(made(kind) if kind else {}), **change}
    return {**WAN, **{f"{layer}.{end}": tensor for end, tensor in parts.items() if tensor is not None}}


def zeros(*shape: int, dtype: torch.dtype = torch.float16) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.uint8).to(dtype)


def words(*shape: int) -> torch.Tensor:
    return zeros(*shape, dtype=torch.int32)


def marker(entry) -> torch.Tensor:
    """ComfyUI's comfy_quant."""
    return torch.tensor(list(json.dumps(entry).encode()), dtype=torch.uint8)
