"""Bypass LoRAs (beside the weights), several on one layer, by core's own injections.

Core's bypass loader keeps its injections under one key, so a second LoRA replaces the first. And core ejects in the
order of injection, which leaves a layer that was wrapped twice with the forward of the first wrapper. Here each LoRA
wraps those before it and is ejected before them.
"""

import copy
from collections.abc import Mapping

import torch
from comfy.patcher_extension import CallbacksMP, PatcherInjection
from comfy.weight_adapter import BypassInjectionManager, WeightAdapterBase

from ..core.private import bypass_manager

# core's key, and keys for the earlier LoRAs: injected before those under core's key, ejected after them
KEY, BEFORE, AFTER = "bypass_lora", "x2v_bypass_before", "x2v_bypass_behind"
CALLBACK = "x2v_bypass"


def add_beside(patcher, adapters: Mapping[str, WeightAdapterBase], strength: float) -> None:
    """Add bypass LoRAs to `patcher`, in place. adapters: weight name -> adapter for the layer's output."""
    manager = BypassInjectionManager()
    for name, adapter in adapters.items():
        manager.add_adapter(name, adapter, strength)
    make_room(patcher)
    patcher.set_injections(KEY, manager.create_injections(patcher.model))
    stackable(patcher)


def stackable(patcher) -> None:
    """Make core's bypass loader, which clones the patcher first, keep the LoRAs that are there."""
    if not patcher.callbacks.get(CallbacksMP.ON_CLONE, {}).get(CALLBACK):
        patcher.add_callback_with_key(CallbacksMP.ON_CLONE, CALLBACK, _cloned)


def _cloned(patcher, made) -> None:
    if made.model is not patcher.model:  # core loads the model anew for torch.compile
        move(made, made.model)
    make_room(made)


def make_room(patcher) -> None:
    """Move the injections under core's key to BEFORE and AFTER, so that the key is free. Nothing if it is."""
    present = patcher.injections.get(KEY)
    if not present:
        return
    before, after = (patcher.injections.pop(key, []) for key in (BEFORE, AFTER))
    del patcher.injections[KEY]
    # core walks the keys in this order, both to put on and to take off
    patcher.injections[BEFORE] = [*before, *(PatcherInjection(each.inject, _nothing) for each in present)]
    patcher.injections[KEY] = []
    patcher.injections[AFTER] = [*(PatcherInjection(_nothing, each.eject) for each in reversed(present)), *after]


def _nothing(_) -> None:
    pass


def move(patcher, model: torch.nn.Module) -> None:
    """Point the patcher's bypass adapters at the modules of `model`, a copy of the model that they were made for.
    Other packs' injections stay: they get their model from the patcher they are called with."""
    stacked = [each for key in (BEFORE, KEY) for each in patcher.injections.pop(key, [])]
    patcher.injections.pop(AFTER, None)
    for key, injections in patcher.injections.items():
        patcher.injections[key] = [moved for each in injections for moved in _moved(each, model)]
    for injection in stacked:
        make_room(patcher)
        patcher.set_injections(KEY, _moved(injection, model))


def _moved(injection: PatcherInjection, model: torch.nn.Module) -> list[PatcherInjection]:
    manager = bypass_manager(injection.inject)
    if manager is None:
        return [injection]
    moved = BypassInjectionManager()
    for key, (adapter, strength) in manager.adapters.items():
        moved.add_adapter(key, copy.copy(adapter), strength)  # being injected changes an adapter
    return moved.create_injections(model)
