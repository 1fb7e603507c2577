"""Alphas of LoRA files without alpha tensors, from peft's adapter configuration in the metadata or beside the file.
A LoRA's product is multiplied by alpha / rank; core uses 1 where a file has no alpha."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, sqrt
from pathlib import Path

import torch

from ..common import limits
from .key_formats import TEXT_ENCODER, split_key, without_wrappers

# diffusers' metadata key for peft's configuration, whose names have a prefix such as "transformer."
METADATA = "lora_adapter_metadata"
# peft's configuration file, and the stem of the adapter file beside it
BESIDE, ADAPTER = "adapter_config.json", "adapter_model"
ALPHA, PATTERN, SQUARE_ROOT = "lora_alpha", "alpha_pattern", "use_rslora"


@dataclass(frozen=True)
class Alphas:
    """`tensors`: key -> alpha tensor, as core reads it from a file. `source`: where the alphas are from."""

    tensors: dict[str, torch.Tensor]
    source: str


def alphas_of(path: Path, metadata: Mapping[str, str], tensors: Mapping[str, torch.Tensor]) -> Alphas | None:
    """The alphas that `tensors`, the LoRA at `path`, lacks; None if there are none or each equals its rank."""
    source, config = METADATA, _parsed(metadata.get(METADATA, ""))
    beside = path.with_name(BESIDE)
    if not config and path.stem == ADAPTER and beside.is_file() and beside.stat().st_size <= limits.JSON_BYTES:
        source, config = BESIDE, _parsed(beside.read_text(encoding="utf-8", errors="replace"))
    named = {key: split_key(key) for key in tensors}
    have = {layer for layer, suffix in filter(None, named.values()) if suffix == "alpha"}
    found = {}
    for key, (layer, suffix) in ((key, name) for key, name in named.items() if name is not None):
        if suffix == "lora_down.weight" and layer not in have and tensors[key].ndim:
            alpha = _alpha(config, layer, tensors[key].shape[0])
            if alpha is not None:
                found[f"{layer}.alpha"] = torch.tensor(alpha)
    return Alphas(found, source) if found else None


def _alpha(config: Mapping[str, object], layer: str, rank: int) -> float | None:
    """The alpha of a layer in peft's configuration; None if it is the rank, or not given."""
    prefixes = {name.removesuffix(ALPHA) for name in config if name == ALPHA or name.endswith(f".{ALPHA}")}
    prefixes = {prefix for prefix in prefixes if not TEXT_ENCODER.match(prefix)}
    prefix = next((one for one in sorted(prefixes, key=len, reverse=True) if layer.startswith(one)), None)
    if prefix is None:  # layers have other prefixes in the file than in its metadata
        prefix = next(iter(prefixes)) if len(prefixes) == 1 else None
    if prefix is None:
        return None
    alpha = config[f"{prefix}{ALPHA}"]
    patterns = config.get(f"{prefix}{PATTERN}")
    for pattern, given in patterns.items() if isinstance(patterns, dict) else ():
        if _is_for(pattern, layer):
            alpha = given
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not isfinite(alpha):
        return None
    alpha = alpha * sqrt(rank) if config.get(f"{prefix}{SQUARE_ROOT}") is True else alpha
    return None if alpha == rank else float(alpha)


def _is_for(pattern: str, layer: str) -> bool:
    """Whether one of peft's patterns matches a layer. They are regular expressions; in practice all are full names or
    endings of names, and only those are matched."""
    name = pattern.removeprefix("^").removesuffix("$").replace("\\", "")
    return layer == name or layer.endswith(f".{name}") or without_wrappers(layer)[-1] == name.replace(".", "_")


def _parsed(text: str) -> Mapping[str, object]:
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
