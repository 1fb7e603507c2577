"""LightX2V's int8 and fp8 files of Wan text to video at full size, of random numbers."""

import math
from pathlib import Path

import torch

from ..converting.tensor_file import TensorFile
from ..converting.units import Spec
from .shapes import Model

# as Wan is published
DENSE = torch.bfloat16
CODES = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}
# codes of this many values repeat through the file
PERIOD = 1 << 24
# keeps activations finite over any number of blocks
SCALE = 2e-4


def dense(model: Model, blocks: int) -> dict[str, Spec]:
    """The tensors of a Wan text to video of this size under ComfyUI's names, in bfloat16."""
    import comfy.ldm.wan.model
    import comfy.ops

    made = comfy.ldm.wan.model.WanModel(
        dim=model.width,
        ffn_dim=model.mlp,
        num_heads=model.heads,
        num_layers=blocks,
        device="meta",
        dtype=DENSE,
        operations=comfy.ops.disable_weight_init,
    )
    return {name: Spec(DENSE, tuple(tensor.shape)) for name, tensor in made.state_dict().items()}


def specs(model: Model, blocks: int, kind: str) -> dict[str, Spec]:
    """The same with quantized layers in the blocks. kind: of CODES."""
    result = {}
    for name, spec in dense(model, blocks).items():
        quantized = name.startswith("blocks.") and len(spec.shape) == 2 and name.endswith(".weight")
        result[name] = Spec(CODES[kind], spec.shape) if quantized else spec
        if quantized:
            result[f"{name}_scale"] = Spec(torch.bfloat16, (spec.shape[0], 1))
    return result


def write(path: Path, tensors: dict[str, Spec]) -> None:
    """A file of `tensors`."""
    codes = torch.randint(-127, 128, (PERIOD,), dtype=torch.int8, generator=torch.Generator().manual_seed(0))
    numbers = {torch.int8: codes, torch.float8_e4m3fn: codes.float().to(torch.float8_e4m3fn)}
    numbers[torch.bfloat16] = (codes.float() * SCALE).to(torch.bfloat16)
    file = TensorFile(path, tensors, {})
    file.open(fresh=True)
    for name, spec in tensors.items():
        if name.endswith("_scale"):
            file.append(name, torch.full(spec.shape, SCALE, dtype=spec.dtype))
            continue
        left = math.prod(spec.shape)
        while left:
            file.append(name, numbers[spec.dtype][: min(left, PERIOD)])
            left -= min(left, PERIOD)
    file.close(sync=False)
