"""The places in a ModelPatcher that own tensors: weights, backups, patches."""

from collections.abc import Iterator
from typing import Any

import torch

from ...core.private import bypass_manager

WEIGHTS, ORIGINALS, PATCHES = "weights", "originals to put back", "LoRA and other patches"
# not tensors of a ModelPatcher: copies that core's dynamic VRAM has made, beside the weights themselves
STREAMED = "weights on the move"


def weights(patcher) -> Iterator[torch.Tensor]:
    """Parameters and buffers of the model as they are now, with LoRAs that have been merged in."""
    yield from patcher.model.parameters()
    yield from patcher.model.buffers()


def originals(patcher) -> Iterator[torch.Tensor]:
    """Backups of patched weights, which core puts back when it unloads the model."""
    yield from tensors_in([patcher.backup, patcher.backup_buffers, patcher.hook_backup])


def patches(patcher) -> Iterator[torch.Tensor]:
    """Tensors of LoRAs and model merges: to be merged, scheduled (hooks), or beside the weights (bypass)."""
    yield from tensors_in([patcher.patches, patcher.hook_patches, patcher.cached_hook_patches])
    for injections in patcher.injections.values():
        for injection in injections:
            manager = bypass_manager(injection.inject)
            yield from tensors_in(manager.adapters if manager else ())


# owner -> function patcher -> its tensors; a tensor counts for the first owner that yields it
OWNERS = {WEIGHTS: weights, ORIGINALS: originals, PATCHES: patches}


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """All tensors in nested mappings, sequences and weight adapters."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    else:
        yield from tensors_in(getattr(value, "weights", ()))
