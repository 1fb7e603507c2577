"""Wan 2.2 A14B: the high- and the low-noise expert as two MODELs, of which the idle one makes room for the other."""

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
HEADROOM = 1.1  # what core adds to the weights it is about to load


def load_experts(high: str, low: str, choice: SchemeChoice | None = None, unquantized: bool = False):
    """Two files or folders -> (high-noise ModelPatcher, low-noise ModelPatcher). unquantized: such models will do too.

    Raises CheckpointError if the two do not belong together or their names say that they are swapped; else as
    `load_dit`.
    """
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
    """A wrapper of PREPARE_SAMPLING: what is loaded of the partner makes room before core loads the expert. `ours` and
    `partners`: the torch models of the two experts and all that were made from them; both experts' wrappers have the
    same two sets, which keep nothing alive."""

    ours: weakref.WeakSet
    partners: weakref.WeakSet

    def __call__(self, executor, model: ModelPatcher, noise_shape, conds, *args, **kwargs):
        if not comfy.model_management.is_device_cpu(model.load_device):
            for idle in list(self.partners):
                let_leave_first(idle, model, noise_shape, conds)
        return executor(model, noise_shape, conds, *args, **kwargs)


def make_room_for_each_other(first: ModelPatcher, second: ModelPatcher) -> None:
    """Before one of the models, or a clone of it, is loaded to sample, the other leaves VRAM first."""
    sides = weakref.WeakSet((first.model,)), weakref.WeakSet((second.model,))
    for model, (ours, partners) in zip((first, second), (sides, sides[::-1]), strict=True):
        model.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, WRAPPER, BeforeLoading(ours, partners))


def stay_paired(patcher: ModelPatcher) -> None:
    """For a patcher that was cloned from an expert's and has got another model: the partner makes room for it too."""
    for wrapper in patcher.get_wrappers(WrappersMP.PREPARE_SAMPLING, WRAPPER):
        wrapper.ours.add(patcher.model)


def let_leave_first(idle: torch.nn.Module, model: ModelPatcher, noise_shape, conds) -> None:
    """idle: the other expert's module. Under dynamic VRAM its pages become the first that are taken when memory runs
    out; else it is unloaded as far as `model` and its activations need, before core looks for anything to unload."""
    device = model.load_device
    pages = getattr(idle, "dynamic_vbars", {}).get(device)
    if model.is_dynamic() and pages is not None:
        pages.deprioritize()
    else:
        free_from(idle, memory_needed(model, noise_shape, conds), device)


def memory_needed(model: ModelPatcher, noise_shape, conds) -> float:
    """Bytes that core will want to be free before it loads `model`, by its own formula."""
    activations, _ = comfy.sampler_helpers.estimate_memory(model, noise_shape, conds)
    weights = model.model_size() - model.loaded_size()
    reserved = comfy.model_management.extra_reserved_memory()
    return weights * HEADROOM + max(comfy.model_management.minimum_inference_memory(), activations + reserved)


def free_from(idle: torch.nn.Module, needed: float, device: torch.device) -> None:
    """Unload from `idle` alone what lacks to `needed` bytes of free memory on `device`, all of it at most."""
    others = [loaded for loaded in comfy.model_management.current_loaded_models if _module(loaded) is not idle]
    comfy.model_management.free_memory(needed, device, keep_loaded=others)


def _module(loaded) -> torch.nn.Module | None:
    """The module of a model that core has loaded, None if its last user is gone."""
    return loaded.model.model if loaded.model is not None else None
