"""Writes w4a8.safetensors: what comfy-kitchen's own quantizer and layout make of a few small weights.

    python tests/data/record_w4a8.py

needs a comfy-kitchen that has the layout: the file here came out of release 0.2.40, on a CPU. Each case has "weight"
float32 [N, K], the tensors that ComfyUI would save, and "dequantized" float32.
"""

from importlib.metadata import version
from pathlib import Path

import comfy_kitchen.tensor
import torch
from safetensors.torch import save_file

TARGET = Path(__file__).with_suffix("").with_name("w4a8.safetensors")
ROWS, COLUMNS = 6, 256


def heavy_tailed(weight: torch.Tensor) -> torch.Tensor:
    """One whose rotated groups are heavy-tailed: outliers in every other row's rotated channels."""
    rotated = weight.sign() * weight.abs() ** 5
    h = comfy_kitchen.tensor.int8_utils._build_hadamard(16)
    return (rotated.view(len(weight), -1, 16) @ h).flatten(1)


def quiet(weight: torch.Tensor) -> torch.Tensor:
    """A row of zeros, groups of zeros and groups far below their row's largest."""
    weight = torch.cat([weight, 2 * weight, weight.flip(1), weight.neg().roll(1, dims=1)])
    weight[1] = 0
    weight[2, :128] = 0
    weight[3, 128:] *= 1e-6
    return weight


# case -> (how the weight is made, what the layout's quantizer is asked for)
CASES = {
    "256": (torch.clone, {"convrot_groupsize": 256}),
    "64": (torch.clone, {"convrot_groupsize": 64}),
    "16": (torch.clone, {"convrot_groupsize": 16}),
    "quiet": (quiet, {"convrot_groupsize": 16}),
    "heavy": (heavy_tailed, {"convrot_groupsize": 16}),
    "seed": (torch.clone, {"convrot_groupsize": 256, "stochastic_rounding": 7}),
    "no table": (torch.clone, {"convrot_groupsize": 256, "codebook": False}),
    "groups of 32": (torch.clone, {"convrot_groupsize": 256, "group_size": 32}),
    "float32 scales": (torch.clone, {"convrot_groupsize": 64, "scale_dtype": torch.float32}),
    "6 bits": (torch.clone, {"convrot_groupsize": 256, "bits": 6}),
}


def record() -> dict[str, torch.Tensor]:
    layout, found = comfy_kitchen.tensor.AsymW4A8Int8Layout, {}
    for index, (name, (change, options)) in enumerate(CASES.items()):
        drawn = torch.randn((ROWS, COLUMNS), generator=torch.Generator().manual_seed(index))
        weight = change(drawn * torch.logspace(-3, 1, ROWS).view(-1, 1))
        codes, params = layout.quantize(weight, **options)
        tensors = {f"weight{end}": tensor for end, tensor in layout.state_dict_tensors(codes, params).items()}
        found |= {f"{name}.{end}": tensor for end, tensor in tensors.items()}
        found |= {f"{name}.float": weight, f"{name}.dequantized": layout.dequantize(codes, params)}
    return found


if __name__ == "__main__":
    save_file(record(), TARGET, {"made by": f"comfy-kitchen {version('comfy-kitchen')}"})
