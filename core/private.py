"""Everything that is read of ComfyUI's private state: closures, names with an underscore, module state.

tests/core/test_private.py has a probe for each, which says what no longer works when core changes it.
"""

import inspect
from collections.abc import Callable

import comfy.model_management
import torch
from comfy.weight_adapter import BypassInjectionManager

# the attribute of a layer with the patches that core's dynamic VRAM applies while it pages a weight in
PAGED_PATCH = "weight_lowvram_function"
# attributes that core sets on a model and its modules while it is loaded
WHILE_LOADED = frozenset(
    (
        *("_v", "_v_signature", "_v_weight", "_v_bias", "_prefetch", "_pins", "_pin_state", "seed_key"),
        # in older releases instead of _pins
        *("_pin", "_pin_registered", "_pin_stack_index", "_pin_balancer_entry", "_pin_balancer_priority"),
        *(PAGED_PATCH, "bias_lowvram_function", "weight_function", "bias_function"),
        *("comfy_patched_weights", "prev_comfy_cast_weights"),
        *("dynamic_vbars", "dynamic_pins", "dynamic_patchers"),
        *("model_loaded_weight_memory", "model_offload_buffer_memory", "model_lowvram", "lowvram_patch_counter"),
        "current_weight_patches_uuid",
    )
)


def bypass_manager(inject: Callable) -> BypassInjectionManager | None:
    """The manager behind the `inject` of a PatcherInjection of core's bypass; None for another pack's."""
    manager = _closure(inject).get("self")
    return manager if isinstance(manager, BypassInjectionManager) else None


def compiled_keys(wrapper: Callable) -> list[str]:
    """Names of the modules that a wrapper of core's TorchCompileModel replaces by compiled ones."""
    return list(_closure(wrapper)["compiled_module_dict"])


def is_page_locked(tensor: torch.Tensor) -> bool:
    """Whether torch, or core without torch's knowledge, has page-locked the memory of a plain tensor."""
    addresses = {tensor.data_ptr(), tensor.untyped_storage().data_ptr()}
    return bool(addresses & comfy.model_management.PINNED_MEMORY.keys()) or tensor.is_pinned()


def is_file_slice(tensor: torch.Tensor) -> bool:
    """Whether a plain tensor is still in its file, where core's reader has left it."""
    return hasattr(tensor.untyped_storage(), "_comfy_tensor_file_slice")


def _closure(function: Callable) -> dict[str, object]:
    """The closure variables of a function, by name."""
    return dict(inspect.getclosurevars(function).nonlocals) if inspect.isfunction(function) else {}
