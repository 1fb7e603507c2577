"""Applies offload settings to a MODEL, a CLIP or a CLIP_VISION."""

import functools

import comfy.model_management
import torch
from comfy.patcher_extension import CallbacksMP, WrappersMP

from ...common.log import log
from .blocks import Block, blocks_of, phases_of
from .budget import Budgeted
from .dynamic import DynamicBudgeted
from .settings import AUTO, DISK, MODEL, PHASE, OffloadSettings
from .state import ATTACHMENT, OffloadState, offload_state
from .wrappers import Prefetching, Streaming

KEY = "x2v_quant.runtime.offload"


def offloaded(patcher, settings: OffloadSettings):
    """A clone of the ModelPatcher with `settings` applied; the patcher itself if they leave everything to ComfyUI.

    A setting that cannot be applied is reported in the log and in `offload_state(clone).notes`, and treated as `auto`.
    """
    before = offload_state(patcher)
    if settings.is_auto and before is None:
        return patcher
    clone = _without_offload(patcher.clone())
    if settings.is_auto:
        return clone
    notes: list[str] = []
    blocks = streamed_blocks(settings, clone.model.diffusion_model) if _has_parts(settings) else []
    if _has_parts(settings) and not blocks:
        notes.append(f"{type(clone.model.diffusion_model).__name__} has no blocks to offload one by one")
    if comfy.model_management.is_device_cpu(clone.load_device):
        notes.append(_on_cpu(settings))
    else:
        install(clone, Streaming(settings, functools.partial(streamed_blocks, settings)))
    if settings.mode == MODEL:
        clone.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, _leave_afterwards)
    clone.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, KEY, _idle_models_first)
    attach(clone, settings, blocks, notes)
    return clone


def offloaded_encoder(encoder, settings: OffloadSettings):
    """Apply `settings` to a CLIP or CLIP_VISION (anything with a `patcher`) in place, and return it. For a new one
    only, that no other node holds."""
    if settings.is_auto:
        return encoder
    notes: list[str] = []
    if comfy.model_management.is_device_cpu(encoder.patcher.load_device):
        notes.append(_on_cpu(settings))
    else:
        encoder.patcher = _with_class(encoder.patcher.clone())
    attach(encoder.patcher, settings, [], notes)
    return encoder


def attach(patcher, settings: OffloadSettings, blocks: list[Block], notes: list[str]) -> None:
    """Store the settings, the streamed blocks and the notes on the patcher, and log the notes."""
    patcher.set_attachments(ATTACHMENT, OffloadState(settings, blocks, list(filter(None, notes))))
    for note in filter(None, notes):
        log.warning("Offload Control: %s.", note)


def _on_cpu(settings: OffloadSettings) -> str:
    if settings.mode in (AUTO, DISK) and settings.budget is None:
        return ""
    return f"the model runs on the CPU, where there is nothing to move: {settings.mode} is treated as auto"


def _has_parts(settings: OffloadSettings) -> bool:
    return settings.mode != MODEL


def install(patcher, streaming: Streaming) -> None:
    """Install the wrappers for the attached settings: core's paging under dynamic VRAM, else `streaming`."""
    _with_class(patcher)
    settings = streaming.settings
    if patcher.is_dynamic():
        if settings.mode not in (AUTO, MODEL) and settings.prefetch:
            patcher.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, Prefetching(streaming.blocks_of))
    elif settings.mode != MODEL:
        patcher.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, streaming)
        patcher.add_callback_with_key(CallbacksMP.ON_CLEANUP, KEY, streaming.free_device)
        patcher.add_callback_with_key(CallbacksMP.ON_DETACH, KEY, streaming.close)


def _with_class(patcher):
    """The same patcher, its class replaced by a subclass that keeps to a budget."""
    mixin = DynamicBudgeted if patcher.is_dynamic() else Budgeted
    if not isinstance(patcher, mixin):
        patcher.__class__ = _class_with(mixin, type(patcher))
    return patcher


def _without_offload(patcher):
    """The same patcher with everything removed that an earlier Offload Control left on it."""
    if isinstance(patcher, (Budgeted, DynamicBudgeted)):
        patcher.__class__ = type(patcher).__mro__[2]
    patcher.remove_attachments(ATTACHMENT)
    for kind in (WrappersMP.APPLY_MODEL, WrappersMP.OUTER_SAMPLE, WrappersMP.PREPARE_SAMPLING):
        patcher.remove_wrappers_with_key(kind, KEY)
    for kind in (CallbacksMP.ON_CLEANUP, CallbacksMP.ON_DETACH):
        patcher.remove_callbacks_with_key(kind, KEY)
    return patcher


@functools.cache
def _class_with(mixin: type, base: type) -> type:
    return type(f"{mixin.__name__}{base.__name__}", (mixin, base), {})


def streamed_blocks(settings: OffloadSettings, model: torch.nn.Module) -> list[Block]:
    """The blocks of a diffusion model; in mode "phase" the phases of each block."""
    blocks = blocks_of(model)
    return [phase for block in blocks for phase in phases_of(block)] if settings.mode == PHASE else blocks


def _leave_afterwards(executor, *args, **kwargs):
    """OUTER_SAMPLE wrapper: unloads the model after sampling."""
    try:
        return executor(*args, **kwargs)
    finally:
        comfy.model_management.unload_model_and_clones(executor.class_obj.model_patcher)


def _idle_models_first(executor, model, *args, **kwargs):
    """PREPARE_SAMPLING wrapper: unloads other models in mode "model" before `model` is loaded."""
    for loaded in list(comfy.model_management.current_loaded_models):
        other = loaded.model
        found = None if other is None else offload_state(other)
        if found is not None and found.settings.mode == MODEL and not other.is_clone(model):
            comfy.model_management.unload_model_and_clones(other)
    return executor(model, *args, **kwargs)
