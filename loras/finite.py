"""Whether a LoRA's numbers are numbers, and stay so when core multiplies them in 16 bits."""

from collections.abc import Callable, Mapping
from math import isfinite

import torch

from .errors import LoRAError

# the largest that fp16 holds; core computes in it where a GPU is fast at it
LARGEST = torch.finfo(torch.float16).max
# factors of which core multiplies the first by the second, and pairs of these or of whole matrices that go together
CHAINS = {
    "lora": ("lora_up.weight", "lora_down.weight"),
    "hada_w1": ("hada_w1_a", "hada_w1_b"),
    "hada_w2": ("hada_w2_a", "hada_w2_b"),
    "lokr_w1": ("lokr_w1_a", "lokr_w1_b"),
    "lokr_w2": ("lokr_w2_a", "lokr_w2_b"),
}
TOGETHER = (("hada_w1", "hada_w2"), ("lokr_w1", "lokr_w2"))
# with one of these between them the factors have other shapes
TUCKER = ("hada_t1", "hada_t2", "lokr_t2")
ANOTHER = "The file is damaged or its training broke: pick another LoRA."

# suffix -> (key in the file, tensor)
Parts = Mapping[str, tuple[str, torch.Tensor]]


def check_numbers(file: str, parts: Parts) -> None:
    """Of one layer, whose factors go together. Raises LoRAError with the key for NaN, infinity and what 16 bits cannot
    hold."""
    for suffix, (key, tensor) in parts.items():
        most = float(tensor.float().abs().max()) if tensor.numel() else 0.0
        if not isfinite(most):
            raise LoRAError(f"{file}: {key} holds NaN or infinite values. {ANOTHER}")
        if most > LARGEST and suffix != "alpha":
            raise LoRAError(f"{file}: {key} holds {most:.3g}, and 16 bits hold {LARGEST:g} at most. {ANOTHER}")
    if not _most(parts, _bound) <= LARGEST and not (most := _most(parts, _exact)) <= LARGEST:
        keys = " and ".join(key for suffix, (key, _) in parts.items() if suffix != "alpha")
        raise LoRAError(f"{file}: {keys} multiply to {most:.3g}, and 16 bits hold {LARGEST:g} at most. {ANOTHER}")


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
    rank = next((parts[down][1].shape[0] for _, down in CHAINS.values() if down in parts), 1)
    return abs(float(parts["alpha"][1])) / rank if "alpha" in parts else 1.0
