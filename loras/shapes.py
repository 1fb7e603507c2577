"""What a LoRA's tensors would change, by their shapes alone."""

from collections.abc import Mapping
from math import prod

import torch

from ..common import limits

Shape = tuple[int, ...]
# suffixes of tensors that are added to, or put in place of, one of the model's: of the weight, of the bias
WHOLE = ("diff", "set_weight", "w_norm")
BIAS = ("diff_b", "b_norm")
# with one of these between them the factors of a convolution have other shapes
TUCKER = frozenset({"lora_mid.weight", "hada_t1", "hada_t2", "lokr_t2"})
GLORA = ("a1.weight", "a2.weight", "b1.weight", "b2.weight")


def matrix(shape: Shape) -> Shape:
    """[N, K, ...] -> (N, K * ...), as core multiplies and adds; a number is (1, 1)."""
    return (shape[0], prod(shape[1:])) if shape else (1, 1)


def as_core(suffix: str, tensor: torch.Tensor, shape: Shape | None) -> torch.Tensor:
    """A tensor of a LoRA as core reads it: a magnitude per row as a column, where peft has a vector; factors of a
    linear layer, and a LoKr's of any, as matrices. shape: of the layer's weight, None if it is not known."""
    if suffix == "dora_scale" and tensor.ndim == 1:
        return tensor.reshape(-1, *(1 for _ in (shape or (0, 0))[1:]))
    if suffix == "reshape_weight":
        return tensor.flatten().long()
    factor = suffix.startswith(("lora_", "hada_w", "lokr_w")) and suffix not in TUCKER
    linear = shape is not None and len(shape) == 2
    return tensor.flatten(1) if factor and tensor.ndim > 2 and (linear or suffix.startswith("lokr")) else tensor


def product(parts: Mapping[str, torch.Tensor], shape: Shape) -> Shape | None:
    """(N, K) of the matrix that a layer's factors multiply to; None where there are none, ValueError where they do not
    go together, or not with the layer's weight, which has `shape`. `parts`: suffix -> tensor."""
    columns = matrix(shape)[1]
    if "dora_scale" in parts:
        _check_magnitudes(parts["dora_scale"].shape, shape)
    if "lora_up.weight" in parts:
        return _grown(parts, shape, _chain(parts, "lora_up.weight", "lora_down.weight", "lora_mid.weight"))
    if "hada_w1_a" in parts:
        first, second = (_chain(parts, f"hada_w{one}_a", f"hada_w{one}_b", f"hada_t{one}") for one in (1, 2))
        if first != second:
            raise ValueError(f"its first two factors make {list(first)}, its other two {list(second)}")
        return first
    if "lokr_w1" in parts or "lokr_w1_a" in parts:
        first, second = (_factor(parts, f"lokr_w{index}") for index in (1, 2))
        return (first[0] * second[0], first[1] * second[1])
    if "a1.weight" in parts:
        return _glora(*(matrix(parts[name].shape) for name in GLORA), columns)
    if "oft_blocks" in parts:
        return (_turned_rows(parts["oft_blocks"].shape), columns)
    return None


def _chain(parts: Mapping[str, torch.Tensor], up: str, down: str, core: str = "") -> Shape:
    if core in parts:
        return _tucker(parts[up].shape, parts[down].shape, parts[core].shape, core)
    (rows, rank), (other, columns) = matrix(parts[up].shape), matrix(parts[down].shape)
    if rank != other:
        raise ValueError(f"{up} has rank {rank}, {down} rank {other}")
    if not rank:
        raise ValueError("its rank is 0")
    return (rows, columns)


def _tucker(up: Shape, down: Shape, core: Shape, name: str) -> Shape:
    """Core reads those of convolutions over two dimensions. Of a LoHa's and a LoKr's the outer factors stand up."""
    (rank, rows), (other, columns) = (up[::-1] if name.startswith("lora") else up)[-2:], matrix(down)
    if len(up) < 2 or len(core) != 4 or core[:2] != (rank, other):
        raise ValueError(f"{name} of {list(core)} does not go between factors of {list(up)} and {list(down)}")
    return (rows, columns * prod(core[2:]))


def _factor(parts: Mapping[str, torch.Tensor], name: str) -> Shape:
    if name in parts:
        return matrix(parts[name].shape)
    return _chain(parts, f"{name}_a", f"{name}_b", name.replace("w", "t"))


def _glora(a1: Shape, a2: Shape, b1: Shape, b2: Shape, columns: int) -> Shape:
    """W A1 A2 + B1 B2, or as older files have it, W A2 A1 + B2 B1."""
    for a, b, c, d in ((a1, a2, b1, b2), (a2, a1, b2, b1)):
        if a[1] == b[0] == c[1] == d[0] and a[0] == b[1] == columns:
            return (c[0], d[1])
    raise ValueError(f"its factors are {list(a1)}, {list(a2)}, {list(b1)} and {list(b2)}, which do not go together")


def _turned_rows(blocks: Shape) -> int:
    """Of OFT's [blocks, size, size], or BOFT's [stages, blocks, size, size]."""
    if len(blocks) not in (3, 4) or blocks[-1] != blocks[-2]:
        raise ValueError(f"its blocks are {list(blocks)}, which are no square ones")
    rows = blocks[-3] * blocks[-2]
    if len(blocks) == 4 and (blocks[-1] % 2 or rows % (2 ** blocks[0] * (blocks[-1] // 2))):
        raise ValueError(f"its {blocks[0]} stages of blocks do not divide {rows} rows")
    return rows


def _check_magnitudes(given: Shape, shape: Shape) -> None:
    """DoRA has one for each row or for each column."""
    if given not in ((shape[0], *(1 for _ in shape[1:])), (1, *shape[1:2], *(1 for _ in shape[2:]))):
        raise ValueError(
            f"its magnitudes are {list(given)}, which is neither one for each of the {shape[0]} rows nor "
            f"for each of the {prod(shape[1:2])} columns"
        )


def _grown(parts: Mapping[str, torch.Tensor], shape: Shape, found: Shape) -> Shape:
    """What is left for the layer where a LoRA makes it larger first, as those for control inputs do."""
    if "reshape_weight" not in parts:
        return found
    target = tuple(parts["reshape_weight"].tolist())
    grows = len(target) == len(shape) and all(new >= old for new, old in zip(target, shape, strict=True))
    if not grows or matrix(target) != found or prod(target) > limits.LORA_GROWTH * prod(shape):
        raise ValueError(f"it is to make {list(shape)} to {list(target)}, and its factors are for {list(found)}")
    return matrix(shape)
