"""Whether a LoRA's numbers are numbers, of a type that LoRAs have, and stay so when core multiplies them in 16 bits."""

from collections.abc import Callable, Mapping
from math import isfinite, isnan

import torch

from .errors import LoRAError
from .shapes import TUCKER

# the largest that fp16 holds; core computes in it where a GPU is fast at it
LARGEST = torch.finfo(torch.float16).max
# factors of which core multiplies the first by the second, and pairs of these or of whole matrices that go together
CHAINS = {
    "lora": ("lora_up.weight", "lora_down.weight"),
    "hada_w1": ("hada_w1_a", "hada_w1_b"),
    "hada_w2": ("hada_w2_a", "hada_w2_b"),
    # core takes the rank of the second where both are in factors
    "lokr_w2": ("lokr_w2_a", "lokr_w2_b"),
    "lokr_w1": ("lokr_w1_a", "lokr_w1_b"),
    "glora": ("b1.weight", "b2.weight"),
    "old glora": ("b2.weight", "b1.weight"),
}
TOGETHER = (("hada_w1", "hada_w2"), ("lokr_w1", "lokr_w2"))
# what trainers store factors as; whole numbers are codes of a quantized LoRA, or another type's bits
TYPES = frozenset(
    getattr(torch, name)
    for name in (
        *("float64", "float32", "float16", "bfloat16"),
        *("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"),
    )
)
WHOLE_NUMBERS = frozenset({torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8})
# suffixes of tensors that may be whole numbers
COUNTS = ("alpha", "reshape_weight")
ANOTHER = "The file is damaged or its training broke: pick another LoRA."

# suffix -> (key in the file, tensor)
Parts = Mapping[str, tuple[str, torch.Tensor]]


def check_types(file: str, parts: Parts) -> None:
    """Raises LoRAError with the key for what no LoRA has: whole or complex numbers, sparse tensors."""
    for suffix, (key, tensor) in parts.items():
        taken = TYPES | WHOLE_NUMBERS if suffix in COUNTS else TYPES
        if tensor.dtype not in taken or tensor.layout is not torch.strided or tensor.is_meta:
            kind = str(tensor.dtype if tensor.layout is torch.strided else tensor.layout).removeprefix("torch.")
            raise LoRAError(
                f"{file}: {key} holds {kind} values, and a LoRA's are floating-point numbers. Get the LoRA in 16 bits."
            )


def check_numbers(file: str, parts: Parts) -> None:
    """Of one layer, whose factors go together. Raises LoRAError with the key for NaN, infinity and what 16 bits cannot
    hold."""
    for suffix, (key, tensor) in parts.items():
        most = float(tensor.float().abs().max()) if tensor.numel() else 0.0
        # what ai-toolkit writes where an alpha has no meaning, 9999999999, is infinite in fp16
        if not isfinite(most) and (isnan(most) or suffix != "alpha" or scales(parts)):
            raise LoRAError(f"{file}: {key} holds NaN or infinite values. {ANOTHER}")
        if most > LARGEST and suffix != "alpha":
            raise LoRAError(f"{file}: {key} holds {most:.3g}, and 16 bits hold {LARGEST:g} at most. {ANOTHER}")
    if not _most(parts, _bound) <= LARGEST and not (most := _most(parts, _exact)) <= LARGEST:
        keys = " and ".join(key for suffix, (key, _) in parts.items() if suffix != "alpha")
        raise LoRAError(f"{file}: {keys} multiply to {most:.3g}, and 16 bits hold {LARGEST:g} at most. {ANOTHER}")


def scales(parts: Parts) -> bool:
    """Whether core multiplies the product by alpha / rank: not where there is no rank, nor in OFT."""
    return "alpha" in parts and any(all(end in parts for end in chain) for chain in CHAINS.values())


def _most(parts: Parts, measure: Callable[[torch.Tensor, torch.Tensor], float]) -> float:
    """The largest magnitude that a product gets on the way, 0 where nothing is multiplied. measure: of two factors."""
    found = {}
    for name, chain in CHAINS.items():
        if name in parts:
            found[name] = float(parts[name][1].float().abs().max())
        elif all(end in parts for end in chain) and not any(core in parts for core in TUCKER):
            found[name] = measure(*(parts[end][1].float().flatten(1) for end in chain))
    both = [found[a] * found[b] for a, b in TOGETHER if a in found and b in found]
    return max([*found.values(), *both], default=0.0) * max(1.0, _scale(parts))


def _bound(up: torch.Tensor, down: torch.Tensor) -> float:
    """What no magnitude in the product is above."""
    return float(up.norm(dim=1).max() * down.norm(dim=0).max())


def _exact(up: torch.Tensor, down: torch.Tensor) -> float:
    return float((up @ down).abs().max())


def _scale(parts: Parts) -> float:
    """What core multiplies the product by."""
    if not scales(parts):
        return 1.0
    rank = next(parts[down][1].shape[0] for _, down in CHAINS.values() if down in parts)
    return abs(float(parts["alpha"][1])) / rank
