"""Makes the patcher of a copied model from the original's patcher, with everything that nodes have set on it."""

import uuid
from collections.abc import Collection

import comfy.model_management
import comfy.model_patcher
import torch
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY, TORCH_COMPILE_KWARGS, set_torch_compile_wrapper

from ..common.compiled import is_compiled
from ..core.private import compiled_keys
from ..loading.experts import stay_paired
from ..loras import in_weights, move, stackable
from ..runtime.compiling import compiled_again
from .copying import Copier
from .errors import QuantizeError

MULTIGPU = "multigpu"


def unload(patcher) -> None:
    """Have core unload the model of `patcher` and its clones, so that modules and weights are as they were loaded:
    without LoRAs, injections and GPU memory."""
    loaded = comfy.model_management.current_loaded_models
    ours = [entry for entry in loaded if entry.model is not None and entry.model.is_clone(patcher)]
    others = [entry for entry in loaded if entry not in ours]
    for device in {entry.device for entry in ours}:
        comfy.model_management.free_memory(1e30, device, keep_loaded=others)


def with_loras_in_weights(patcher):
    """`patcher`, unloaded; a clone that merges its bypass LoRAs if there are any. Raises LoRAError for a bypass LoRA
    that would change its effect when merged."""
    unload(patcher)
    return in_weights(patcher)


def successor(patcher, model: torch.nn.Module, copier: Copier, baked: Collection[str]):
    """A patcher for `model`, the copy that `copier` made of the unloaded `patcher`'s model. Everything set on `patcher`
    is kept, except patches of the weights in `baked`.

    Raises QuantizeError for modules that another pack compiled: they refer to the original weights.
    """
    _check_compiled(patcher)
    made = patcher.clone(model_override=(model, ({}, {}, {}, set())))
    # another pack's patcher knows its own weights, not ours
    dynamic = made.is_dynamic()
    made.__class__ = comfy.model_patcher.ModelPatcherDynamic if dynamic else comfy.model_patcher.ModelPatcher
    made.size = 0
    made.parent = None
    made.patches_uuid, made.clone_base_uuid = uuid.uuid4(), uuid.uuid4()
    made.patches = {key: patches for key, patches in made.patches.items() if key not in baked}
    made.object_patches = {name: copier.of(patch) for name, patch in made.object_patches.items()}
    made.is_injected, made.is_multigpu_base_clone = False, False
    made.hook_backup, made.cached_hook_patches, made.current_hooks = {}, {}, None
    made.remove_additional_models(MULTIGPU)  # copies of the first model on other devices
    move(made, model)
    stackable(made)
    stay_paired(made)
    _compile_again(made)
    return made


def _check_compiled(patcher) -> None:
    compiled = [name for name, patch in patcher.object_patches.items() if is_compiled(patch)]
    if compiled:
        raise QuantizeError(
            f"{compiled[0]} of this model is compiled already. Put the node that compiles after Quantize Model."
        )


def _compile_again(patcher) -> None:
    """Set compilation up for the new modules; the compiled ones are the original's. It happens at the first call."""
    if compiled_again(patcher):
        return
    # core's TorchCompileModel
    for wrapper in patcher.get_wrappers(WrappersMP.APPLY_MODEL, COMPILE_KEY):
        set_torch_compile_wrapper(patcher, keys=compiled_keys(wrapper), **patcher.model_options[TORCH_COMPILE_KWARGS])
