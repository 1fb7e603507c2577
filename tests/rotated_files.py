"""Files whose layers are rotated int8, as ComfyUI has them."""

import json
from collections.abc import Iterable, Mapping

import torch

from x2v_quant.formats import FORMATS, fitting

WEIGHT = ".weight"


def marker(name: str) -> torch.Tensor:
    """`comfy_quant` of a layer in a format that core reads whatever it holds."""
    entry = {"format": FORMATS[name].marker, **FORMATS[name].settings}
    return torch.tensor(list(json.dumps(entry).encode()), dtype=torch.uint8)


def rotated(tensors: Mapping[str, torch.Tensor], layers: Iterable[str]) -> dict[str, torch.Tensor]:
    """The tensors with the weights of `layers` rotated, in the widest groups that divide them up to 256."""
    result = dict(tensors)
    for layer in layers:
        weight = tensors[f"{layer}{WEIGHT}"].float()
        name = fitting("int8-convrot", tuple(weight.shape))
        result |= FORMATS[name].quantize(weight, torch.bfloat16).state_dict(f"{layer}{WEIGHT}")
        result[f"{layer}.comfy_quant"] = marker(name)
    return result


def int8_layers(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    return [key.removesuffix(WEIGHT) for key, tensor in tensors.items() if tensor.dtype is torch.int8]
