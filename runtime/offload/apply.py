"""Offload settings applied to what a loader gave: a MODEL, a CLIP or a CLIP_VISION."""

import functools

import comfy.model_management
import torch
from comfy.patcher_extension import CallbacksMP, WrappersMP

from ...common.log import log
from .blocks import Block, blocks_of, phases_of
from .budget import Budgeted
from .dynamic import DynamicBudgeted
from .settings import AUTO, DISK, MODEL, PHASE, OffloadSettings
from .state import ATTACHMENT, Steered, steered
from .steering import Prefetching, Streaming

KEY = "x2v_quant.runtime.offload"


def offloaded(patcher, settings: OffloadSettings):
    """A clone of a ModelPatcher that is offloaded as `settings` say; the patcher itself if they leave all to ComfyUI.

    What cannot be done is told in the log and in `steered(patcher).notes`; the model then runs on `auto`.
    """
    before = steered(patcher)
    if settings.is_auto and before is None:
        return patcher
    clone = _unsteered(patcher.clone())
    if settings.is_auto:
        return clone
    notes: list[str] = []
    parts = parts_of(settings, clone.model.diffusion_model) if _has_parts(settings) else []
    if _has_parts(settings) and not parts:
        notes.append(f"{type(clone.model.diffusion_model).__name__} has no blocks to offload one by one")
    if comfy.model_management.is_device_cpu(clone.load_device):
        notes.append(_on_cpu(settings))
    else:
        steer(clone, Streaming(settings, functools.partial(parts_of, settings)))
    if settings.mode == MODEL:
        clone.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, KEY, _leave_afterwards)
    clone.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, KEY, _idle_models_first)
    attach(clone, settings, parts, notes)
    return clone


def offloaded_encoder(encoder, settings: OffloadSettings):
    """A CLIP or CLIP_VISION (anything with a `patcher`) whose patcher is offloaded as `settings` say, in place: one
    that a loader has just made."""
    if settings.is_auto:
        return encoder
    notes: list[str] = []
    if comfy.model_management.is_device_cpu(encoder.patcher.load_device):
        notes.append(_on_cpu(settings))
    else:
        encoder.patcher = _with_class(encoder.patcher.clone())
    attach(encoder.patcher, settings, [], notes)
    return encoder


def attach(patcher, settings: OffloadSettings, parts: list[Block], notes: list[str]) -> None:
    """Leave the settings and what there is to say of them on a patcher."""
    patcher.set_attachments(ATTACHMENT, Steered(settings, parts, list(filter(None, notes))))
    for note in filter(None, notes):
        log.warning("Offload Control: %s.", note)


def _on_cpu(settings: OffloadSettings) -> str:
    if settings.mode in (AUTO, DISK) and settings.budget is None:
        return ""
    return f"the model computes on the CPU, where {settings.mode} has nothing to move: it runs on auto"


def _has_parts(settings: OffloadSettings) -> bool:
    return settings.mode != MODEL


def steer(patcher, streaming: Streaming) -> None:
    """Make a patcher with settings attached keep to them: by core's paging, or by `streaming` where core has none."""
    _with_class(patcher)
    settings = streaming.settings
    if patcher.is_dynamic():
        if settings.mode not in (AUTO, MODEL) and settings.prefetch:
            patcher.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, Prefetching(streaming.parts_of))
    elif settings.mode != MODEL:
        patcher.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, streaming)
        patcher.add_callback_with_key(CallbacksMP.ON_CLEANUP, KEY, streaming.free_device)
        patcher.add_callback_with_key(CallbacksMP.ON_DETACH, KEY, streaming.close)


def _with_class(patcher):
    """The same patcher, of a class that keeps to a budget."""
    mixin = DynamicBudgeted if patcher.is_dynamic() else Budgeted
    if not isinstance(patcher, mixin):
        patcher.__class__ = _class_with(mixin, type(patcher))
    return patcher


def _unsteered(patcher):
    """The same patcher without an earlier control."""
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


def parts_of(settings: OffloadSettings, model: torch.nn.Module) -> list[Block]:
    """The blocks of a diffusion model, or their phases."""
    blocks = blocks_of(model)
    return [part for block in blocks for part in phases_of(block)] if settings.mode == PHASE else blocks


def _leave_afterwards(executor, *args, **kwargs):
    """A wrapper of sampling: the model is off the device when it is done."""
    try:
        return executor(*args, **kwargs)
    finally:
        comfy.model_management.unload_model_and_clones(executor.class_obj.model_patcher)


def _idle_models_first(executor, model, *args, **kwargs):
    """A wrapper of what loads models for sampling: those that are to be on the device only while they compute leave it
    before the next one comes."""
    for loaded in list(comfy.model_management.current_loaded_models):
        other = loaded.model
        found = None if other is None else steered(other)
        if found is not None and found.settings.mode == MODEL and not other.is_clone(model):
            comfy.model_management.unload_model_and_clones(other)
    return executor(model, *args, **kwargs)
