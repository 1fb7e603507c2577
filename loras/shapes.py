"""The shape of a LoRA's delta, from the shapes of its components."""

from collections.abc import Mapping
from math import prod

import torch

from ..common import limits

Shape = tuple[int, ...]
# suffixes of full tensors that are added to, or replace, one of the model's: the weight, the bias
WHOLE = ("diff", "set_weight", "w_norm")
BIAS = ("diff_b", "b_norm")
# suffixes of Tucker cores; with one of these the factors of a convolution have other shapes
TUCKER = frozenset({"lora_mid.weight", "hada_t1", "hada_t2", "lokr_t2"})
GLORA = ("a1.weight", "a2.weight", "b1.weight", "b2.weight")


def matrix(shape: Shape) -> Shape:
    """Shape [N, K, ...] -> (N, K * ...), the matrix that core multiplies; a scalar is (1, 1)."""
    return (shape[0], prod(shape[1:])) if shape else (1, 1)


def as_core(suffix: str, tensor: torch.Tensor, shape: Shape | None) -> torch.Tensor:
    """A component in the shape that core reads. peft's DoRA magnitudes, a vector, become a column; factors of linear
    layers, and LoKr factors of any layer, become matrices. shape: that of the layer's weight, None if not known."""
    if suffix == "dora_scale" and tensor.ndim == 1:
        return tensor.reshape(-1, *(1 for _ in (shape or (0, 0))[1:]))
    if suffix == "reshape_weight":
        return tensor.flatten().long()
    factor = suffix.startswith(("lora_", "hada_w", "lokr_w")) and suffix not in TUCKER
    linear = shape is not None and len(shape) == 2
    return tensor.flatten(1) if factor and tensor.ndim > 2 and (linear or suffix.startswith("lokr")) else tensor


def product(components: Mapping[str, torch.Tensor], shape: Shape) -> Shape | None:
    """(N, K) of the product of a layer's factors; None if there are no factors. components: suffix -> tensor. shape:
    that of the layer's weight. Raises ValueError for factors that do not fit each other or the weight."""
    columns = matrix(shape)[1]
    if "dora_scale" in components:
        _check_magnitudes(components["dora_scale"].shape, shape)
    if "lora_up.weight" in components:
        return _grown(components, shape, _chain(components, "lora_up.weight", "lora_down.weight", "lora_mid.weight"))
    if "hada_w1_a" in components:
        first, second = (_chain(components, f"hada_w{one}_a", f"hada_w{one}_b", f"hada_t{one}") for one in (1, 2))
        if first != second:
            raise ValueError(f"its first two factors make {list(first)}, its other two {list(second)}")
        return first
    if "lokr_w1" in components or "lokr_w1_a" in components:
        first, second = (_factor(components, f"lokr_w{index}") for index in (1, 2))
        return (first[0] * second[0], first[1] * second[1])
    if "a1.weight" in components:
        return _glora(*(matrix(components[name].shape) for name in GLORA), columns)
    if "oft_blocks" in components:
        return (_turned_rows(components["oft_blocks"].shape), columns)
    return None


def _chain(components: Mapping[str, torch.Tensor], up: str, down: str, core: str = "") -> Shape:
    if core in components:
        return _tucker(components[up].shape, components[down].shape, components[core].shape, core)
    (rows, rank), (other, columns) = matrix(components[up].shape), matrix(components[down].shape)
    if rank != other:
        raise ValueError(f"{up} has rank {rank}, {down} rank {other}")
    if not rank:
        raise ValueError("its rank is 0")
    return (rows, columns)


def _tucker(up: Shape, down: Shape, core: Shape, name: str) -> Shape:
    """(N, K) of Tucker factors of a 2D convolution (core reads no others); `up` of a LoHa or LoKr is [rank, N]."""
    (rank, rows), (other, columns) = (up[::-1] if name.startswith("lora") else up)[-2:], matrix(down)
    if len(up) < 2 or len(core) != 4 or core[:2] != (rank, other):
        raise ValueError(f"{name} of {list(core)} does not go between factors of {list(up)} and {list(down)}")
    return (rows, columns * prod(core[2:]))


def _factor(components: Mapping[str, torch.Tensor], name: str) -> Shape:
    if name in components:
        return matrix(components[name].shape)
    return _chain(components, f"{name}_a", f"{name}_b", name.replace("w", "t"))


def _glora(a1: Shape, a2: Shape, b1: Shape, b2: Shape, columns: int) -> Shape:
    """W A1 A2 + B1 B2, or as older files have it, W A2 A1 + B2 B1."""
    for a, b, c, d in ((a1, a2, b1, b2), (a2, a1, b2, b1)):
        if a[1] == b[0] == c[1] == d[0] and a[0] == b[1] == columns:
            return (c[0], d[1])
    raise ValueError(f"its factors are {list(a1)}, {list(a2)}, {list(b1)} and {list(b2)}, which do not go together")


def _turned_rows(blocks: Shape) -> int:
    """Rows that OFT's blocks [blocks, size, size] turn, or BOFT's [stages, blocks, size, size]."""
    if len(blocks) not in (3, 4) or blocks[-1] != blocks[-2]:
        raise ValueError(f"its blocks are {list(blocks)}, which are no square ones")
    rows = blocks[-3] * blocks[-2]
    if len(blocks) == 4 and (blocks[-1] % 2 or rows % (2 ** blocks[0] * (blocks[-1] // 2))):
        raise ValueError(f"its {blocks[0]} stages of blocks do not divide {rows} rows")
    return rows


def _check_magnitudes(given: Shape, shape: Shape) -> None:
    """Raises ValueError unless DoRA's magnitudes are one per row or one per column."""
    if given not in ((shape[0], *(1 for _ in shape[1:])), (1, *shape[1:2], *(1 for _ in shape[2:]))):
        raise ValueError(
            f"its magnitudes are {list(given)}, which is neither one for each of the {shape[0]} rows nor "
            f"for each of the {prod(shape[1:2])} columns"
        )


def _grown(components: Mapping[str, torch.Tensor], shape: Shape, found: Shape) -> Shape:
    """`found`, or the weight's own (N, K) for a LoRA that enlarges it first (reshape_weight, for control inputs)."""
    if "reshape_weight" not in components:
        return found
    target = tuple(components["reshape_weight"].tolist())
    grows = len(target) == len(shape) and all(new >= old for new, old in zip(target, shape, strict=True))
    if not grows or matrix(target) != found or prod(target) > limits.LORA_GROWTH * prod(shape):
        raise ValueError(f"it is to make {list(shape)} to {list(target)}, and its factors are for {list(found)}")
    return matrix(shape)
