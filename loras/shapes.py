"""What a LoRA's tensors would change, by their shapes alone."""

from collections.abc import Mapping
from math import prod

import torch

Shape = tuple[int, ...]
# suffixes of tensors that are added to, or put in place of, one of the model's: of the weight, of the bias
WHOLE = ("diff", "set_weight", "w_norm")
BIAS = ("diff_b", "b_norm")


def matrix(shape: Shape) -> Shape:
    """[N, K, ...] -> (N, K * ...), as core multiplies and adds; a number is (1, 1)."""
    return (shape[0], prod(shape[1:])) if shape else (1, 1)


def product(parts: Mapping[str, torch.Tensor]) -> Shape | None:
    """(N, K) of the matrix that a layer's factors multiply to; None where they do not tell, ValueError where they do
    not go together. `parts`: suffix -> tensor."""
    if "reshape_weight" in parts or "lora_mid.weight" in parts or "lokr_t2" in parts or "hada_t1" in parts:
        return None
    if "lora_up.weight" in parts:
        return _chain(parts, "lora_up.weight", "lora_down.weight")
    if "hada_w1_a" in parts:
        return _chain(parts, "hada_w1_a", "hada_w1_b")
    if "lokr_w1" in parts or "lokr_w1_a" in parts:
        first, second = (_factor(parts, f"lokr_w{index}") for index in (1, 2))
        return (first[0] * second[0], first[1] * second[1])
    return None


def _chain(parts: Mapping[str, torch.Tensor], up: str, down: str) -> Shape:
    (rows, rank), (other, columns) = matrix(parts[up].shape), matrix(parts[down].shape)
    if rank != other:
        raise ValueError(f"{up} has rank {rank}, {down} rank {other}")
    return (rows, columns)


def _factor(parts: Mapping[str, torch.Tensor], name: str) -> Shape:
    return matrix(parts[name].shape) if name in parts else _chain(parts, f"{name}_a", f"{name}_b")
