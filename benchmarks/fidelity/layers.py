"""A loaded linear layer, whoever loaded it: what it holds, and how far it is from the original."""

import dataclasses

import torch
from comfy_kitchen.tensor import QuantizedTensor

from ...common.decibels import decibels
from ...comparing.metrics import energy
from ...comparing.storage import stored


def weight_of(module: torch.nn.Module, device: torch.device) -> torch.Tensor:
    """The weight [N, K] that the layer multiplies with, dequantized in float32, on `device`."""
    weight = module.weight
    if isinstance(weight, QuantizedTensor):
        weight = weight.to(device)
        exact = dataclasses.replace(weight._params, orig_dtype=torch.float32)
        return QuantizedTensor(weight._qdata, weight._layout_cls, exact).dequantize()
    if hasattr(weight, "tensor_type"):
        return module.get_weight(weight.to(device), torch.float32)
    return weight.to(device, torch.float32)


def compare(module: torch.nn.Module, weight: torch.Tensor, bias: torch.Tensor | None, x: torch.Tensor) -> dict:
    """A layer against the original `weight` [N, K] and `bias` [N] on recorded inputs x [rows, K], all on the device
    that the layer runs on.

    {"stored", "weight_signal", "weight_noise", "weight_snr", "output_snr"}: energies, and ratios in dB. The output's
    signal is X W^T without the bias, its noise what the layer itself returns less X W^T + b in float64.
    """
    true = weight.double()
    noise = energy(weight_of(module, x.device).double() - true)
    product = x.double() @ true.t()
    got = module(x).double()
    difference = got - (product if bias is None else product + bias.double())
    return {
        "stored": stored(module),
        "weight_signal": energy(true),
        "weight_noise": noise,
        "weight_snr": decibels(energy(true), noise),
        "output_snr": decibels(energy(product), energy(difference)),
    }
