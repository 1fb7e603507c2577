"""Checks a LoRA's values: floating-point, finite, and still finite when core multiplies them in 16 bits."""

from collections.abc import Callable, Mapping
from math import isfinite, isnan

import torch

from .errors import LoRAError
from .shapes import TUCKER

# the largest fp16 value; core computes in fp16 on GPUs that are fast at it
LARGEST = torch.finfo(torch.float16).max
TOO_LARGE = f"which is more than 16 bits can store ({LARGEST:g})"
# factors that core multiplies, the first by the second; TOGETHER: products that are multiplied with each other
CHAINS = {
    "lora": ("lora_up.weight", "lora_down.weight"),
    "hada_w1": ("hada_w1_a", "hada_w1_b"),
    "hada_w2": ("hada_w2_a", "hada_w2_b"),
    # before lokr_w1: core takes the rank of w2 where both are in factors
    "lokr_w2": ("lokr_w2_a", "lokr_w2_b"),
    "lokr_w1": ("lokr_w1_a", "lokr_w1_b"),
    "glora": ("b1.weight", "b2.weight"),
    "old glora": ("b2.weight", "b1.weight"),
}
TOGETHER = (("hada_w1", "hada_w2"), ("lokr_w1", "lokr_w2"))
# dtypes of factors; integers would be codes of a quantized LoRA, or another dtype's bits
TYPES = frozenset(
    getattr(torch, name)
    for name in (
        *("float64", "float32", "float16", "bfloat16"),
        *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
    )
)
WHOLE_NUMBERS = frozenset({torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8})
# suffixes of tensors that may be integers
COUNTS = ("alpha", "reshape_weight")
ANOTHER = "The file is damaged or its training broke: pick another LoRA."

# suffix -> (key in the file, tensor)
Components = Mapping[str, tuple[str, torch.Tensor]]


def check_types(file: str, components: Components) -> None:
    """Raises LoRAError with the key for integer, complex and sparse tensors."""
    for suffix, (key, tensor) in components.items():
        taken = TYPES | WHOLE_NUMBERS if suffix in COUNTS else TYPES
        if tensor.dtype not in taken or tensor.layout is not torch.strided or tensor.is_meta:
            kind = str(tensor.dtype if tensor.layout is torch.strided else tensor.layout).removeprefix("torch.")
            raise LoRAError(
                f"{file}: {key} has {kind} values, and a LoRA's are floating-point numbers. Get the LoRA in 16 bits."
            )


def check_numbers(file: str, components: Components) -> None:
    """Checks the components of one layer. Raises LoRAError with the key for NaN, infinity, and values or products that
    fp16 cannot hold."""
    for suffix, (key, tensor) in components.items():
        most = float(tensor.float().abs().max()) if tensor.numel() else 0.0
        # ai-toolkit's alpha where it has no meaning, 9999999999, is infinite in fp16
        if not isfinite(most) and (isnan(most) or suffix != "alpha" or scales(components)):
            raise LoRAError(f"{file}: {key} contains NaN or infinite values. {ANOTHER}")
        if most > LARGEST and suffix != "alpha":
            raise LoRAError(f"{file}: {key} contains {most:.3g}, {TOO_LARGE}. {ANOTHER}")
    if not _most(components, _bound) <= LARGEST and not (most := _most(components, _exact)) <= LARGEST:
        keys = " and ".join(key for suffix, (key, _) in components.items() if suffix != "alpha")
        raise LoRAError(f"{file}: {keys} multiply to {most:.3g}, {TOO_LARGE}. {ANOTHER}")


def scales(components: Components) -> bool:
    """Whether core multiplies the product by alpha / rank: it needs an alpha, and factors with a rank (not OFT)."""
    return "alpha" in components and any(all(end in components for end in chain) for chain in CHAINS.values())


def _most(components: Components, measure: Callable[[torch.Tensor, torch.Tensor], float]) -> float:
    """The largest magnitude in the products of these factors, 0 if there are none. measure: of one pair of factors."""
    found = {}
    for name, chain in CHAINS.items():
        if name in components:
            found[name] = float(components[name][1].float().abs().max())
        elif all(end in components for end in chain) and not any(core in components for core in TUCKER):
            found[name] = measure(*(components[end][1].float().flatten(1) for end in chain))
    both = [found[a] * found[b] for a, b in TOGETHER if a in found and b in found]
    return max([*found.values(), *both], default=0.0) * max(1.0, _scale(components))


def _bound(up: torch.Tensor, down: torch.Tensor) -> float:
    """An upper bound of the magnitudes in the product up @ down (Cauchy-Schwarz)."""
    return float(up.norm(dim=1).max() * down.norm(dim=0).max())


def _exact(up: torch.Tensor, down: torch.Tensor) -> float:
    return float((up @ down).abs().max())


def _scale(components: Components) -> float:
    """|alpha| / rank, by which core multiplies the product; 1 without alpha."""
    if not scales(components):
        return 1.0
    rank = next(components[down][1].shape[0] for _, down in CHAINS.values() if down in components)
    return abs(float(components["alpha"][1])) / rank
