"""The alphas of LoRAs whose tensors have none: what peft and diffusers write of their adapters, in the file's metadata
or beside it. A product is multiplied by alpha / rank; core has 1 where a file has no alpha."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, sqrt
from pathlib import Path

import torch

from ..common import limits
from .key_formats import TEXT_ENCODER, spelled, without_wrappers

# diffusers' key in a safetensors file's metadata: peft's configuration, "transformer." and so on before its names
METADATA = "lora_adapter_metadata"
# peft's file beside its adapter, and how that one is called
BESIDE, ADAPTER = "adapter_config.json", "adapter_model"
ALPHA, PATTERN, SQUARE_ROOT = "lora_alpha", "alpha_pattern", "use_rslora"


@dataclass(frozen=True)
class Alphas:
    """`tensors`: key -> alpha, as a file of core's has it. `source`: where they are from."""

    tensors: dict[str, torch.Tensor]
    source: str


def alphas_of(path: Path, metadata: Mapping[str, str], tensors: Mapping[str, torch.Tensor]) -> Alphas | None:
    """None if the file's own alphas, or 1 as the factor of all products, are what its trainer had."""
    source, config = METADATA, _parsed(metadata.get(METADATA, ""))
    beside = path.with_name(BESIDE)
    if not config and path.stem == ADAPTER and beside.is_file() and beside.stat().st_size <= limits.JSON_BYTES:
        source, config = BESIDE, _parsed(beside.read_text(encoding="utf-8", errors="replace"))
    named = {key: spelled(key) for key in tensors}
    have = {layer for layer, suffix in filter(None, named.values()) if suffix == "alpha"}
    found = {}
    for key, (layer, suffix) in ((key, name) for key, name in named.items() if name is not None):
        if suffix == "lora_down.weight" and layer not in have and tensors[key].ndim:
            alpha = _alpha(config, layer, tensors[key].shape[0])
            if alpha is not None:
                found[f"{layer}.alpha"] = torch.tensor(alpha)
    return Alphas(found, source) if found else None


def _alpha(config: Mapping[str, object], layer: str, rank: int) -> float | None:
    """None where it is the rank, or not told."""
    parts = {name.removesuffix(ALPHA) for name in config if name == ALPHA or name.endswith(f".{ALPHA}")}
    parts = {part for part in parts if not TEXT_ENCODER.match(part)}
    part = next((one for one in sorted(parts, key=len, reverse=True) if layer.startswith(one)), None)
    if part is None:  # the file has other words before its layers than its metadata
        part = next(iter(parts)) if len(parts) == 1 else None
    if part is None:
        return None
    alpha = config[f"{part}{ALPHA}"]
    patterns = config.get(f"{part}{PATTERN}")
    for pattern, given in patterns.items() if isinstance(patterns, dict) else ():
        if _is_for(pattern, layer):
            alpha = given
    if not isinstance(alpha, int | float) or isinstance(alpha, bool) or not isfinite(alpha):
        return None
    alpha = alpha * sqrt(rank) if config.get(f"{part}{SQUARE_ROOT}") is True else alpha
    return None if alpha == rank else float(alpha)


def _is_for(pattern: str, layer: str) -> bool:
    """peft's are regular expressions, of which everybody writes names, whole or their end."""
    name = pattern.removeprefix("^").removesuffix("$").replace("\\", "")
    return layer == name or layer.endswith(f".{name}") or without_wrappers(layer)[-1] == name.replace(".", "_")


def _parsed(text: str) -> Mapping[str, object]:
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
