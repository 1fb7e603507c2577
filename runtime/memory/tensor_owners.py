"""What a ModelPatcher holds tensors in."""

from collections.abc import Iterator
from typing import Any

import torch
from comfy.weight_adapter.bypass import BypassInjectionManager

WEIGHTS = "weights"


def weights(patcher) -> Iterator[torch.Tensor]:
    """Parameters and buffers as they are now: patched, if a LoRA has been merged into them."""
    yield from patcher.model.parameters()
    yield from patcher.model.buffers()


def originals(patcher) -> Iterator[torch.Tensor]:
    """What core puts back when it unloads the model."""
    yield from tensors_in([patcher.backup, patcher.backup_buffers, patcher.hook_backup])


def patches(patcher) -> Iterator[torch.Tensor]:
    """LoRAs and merges: to be merged, scheduled, or computed beside the layers."""
    yield from tensors_in([patcher.patches, patcher.hook_patches, patcher.cached_hook_patches])
    for injections in patcher.injections.values():
        for injection in injections:
            for cell in getattr(injection.inject, "__closure__", None) or ():
                if isinstance(cell.cell_contents, BypassInjectionManager):
                    yield from tensors_in(cell.cell_contents.adapters)


# holder -> what yields its tensors for a patcher; what an earlier one has yielded is not counted again
HOLDERS = {WEIGHTS: weights, "originals to put back": originals, "LoRA and other patches": patches}


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Of nested mappings, sequences and weight adapters."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    else:
        yield from tensors_in(getattr(value, "weights", ()))
