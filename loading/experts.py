"""Loads the high- and the low-noise expert of Wan 2.2 A14B as two MODELs; the idle one makes room for the other."""

import weakref
from dataclasses import dataclass
from pathlib import Path

import comfy.model_management
import comfy.sampler_helpers
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ..checkpoints import CheckpointError, open_checkpoint
from ..checkpoints.expert_names import HIGH, LOW, expert_of
from ..schemes import SchemeChoice
from .dit import load_dit

WRAPPER = "x2v_idle_expert"
HEADROOM = 1.1  # core's factor on the size of weights to load


def load_experts(high: str, low: str, choice: SchemeChoice | None = None, unquantized: bool = False):
    """Two files or folders -> (high-noise ModelPatcher, low-noise ModelPatcher). unquantized: accept unquantized models
    too. Raises CheckpointError if the two are no pair or their names say that they are swapped; else as `load_dit`."""
    check_pair(Path(high), Path(low))
    models = load_dit(high, choice, unquantized=unquantized), load_dit(low, choice, unquantized=unquantized)
    for model, expert in zip(models, (HIGH, LOW), strict=True):
        model.model.x2v_expert = expert
    make_room_for_each_other(*models)
    return models


def check_pair(high: Path, low: Path) -> None:
    if high == low:
        raise CheckpointError(f"{high.name} is picked as both experts. Pick the low-noise file as the second.")
    if expert_of(str(high)) == LOW and expert_of(str(low)) == HIGH:
        raise CheckpointError(f"{high.name} and {low.name} are swapped: the first has to be the high-noise expert.")
    models = [open_checkpoint(path).model for path in (high, low)]
    if models[0] != models[1]:
        raise CheckpointError(
            f"{high.name} is {models[0]}, {low.name} is {models[1]}: they are no pair. Pick two of one model."
        )


@dataclass(frozen=True, eq=False)
class BeforeLoading:
    """PREPARE_SAMPLING wrapper: before core loads this expert, the loaded models of its partner make room. `ours`,
    `partners`: torch models of this expert and of its partner, copies included, as weak references. The wrappers of
    both experts share the two sets."""

    ours: weakref.WeakSet
    partners: weakref.WeakSet

    def __call__(self, executor, model: ModelPatcher, noise_shape, conds, *args, **kwargs):
        if not comfy.model_management.is_device_cpu(model.load_device):
            for idle in list(self.partners):
                let_leave_first(idle, model, noise_shape, conds)
        return executor(model, noise_shape, conds, *args, **kwargs)


def make_room_for_each_other(first: ModelPatcher, second: ModelPatcher) -> None:
    """Pair two models: before one of them, or a clone, is loaded for sampling, the other is unloaded first."""
    sides = weakref.WeakSet((first.model,)), weakref.WeakSet((second.model,))
    for model, (ours, partners) in zip((first, second), (sides, sides[::-1]), strict=True):
        model.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, WRAPPER, BeforeLoading(ours, partners))


def stay_paired(patcher: ModelPatcher) -> None:
    """Keep the pairing for a patcher that was cloned from an expert's and has got another model since."""
    for wrapper in patcher.get_wrappers(WrappersMP.PREPARE_SAMPLING, WRAPPER):
        wrapper.ours.add(patcher.model)


def let_leave_first(idle: torch.nn.Module, model: ModelPatcher, noise_shape, conds) -> None:
    """Make the other expert, `idle`, the first to leave VRAM. Under dynamic VRAM its pages get the lowest priority;
    else it is unloaded here as far as `model` and its activations need."""
    device = model.load_device
    pages = getattr(idle, "dynamic_vbars", {}).get(device)
    if model.is_dynamic() and pages is not None:
        pages.deprioritize()
    else:
        free_from(idle, memory_needed(model, noise_shape, conds), device)


def memory_needed(model: ModelPatcher, noise_shape, conds) -> float:
    """Bytes that core wants free before it loads `model`, by core's own formula."""
    activations, _ = comfy.sampler_helpers.estimate_memory(model, noise_shape, conds)
    weights = model.model_size() - model.loaded_size()
    reserved = comfy.model_management.extra_reserved_memory()
    return weights * HEADROOM + max(comfy.model_management.minimum_inference_memory(), activations + reserved)


def free_from(idle: torch.nn.Module, needed: float, device: torch.device) -> None:
    """Unload as much of `idle`, and of no other model, as `needed` bytes of free memory on `device` require."""
    others = [loaded for loaded in comfy.model_management.current_loaded_models if _module(loaded) is not idle]
    comfy.model_management.free_memory(needed, device, keep_loaded=others)


def _module(loaded) -> torch.nn.Module | None:
    """The torch model of an entry in core's list of loaded models, None if its last user is gone."""
    return loaded.model.model if loaded.model is not None else None
