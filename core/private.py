"""What is read of ComfyUI that is no interface of its: closures, names with an underscore, module state.

tests/core/test_private.py has a probe for each, which says what no longer works when core changes it.
"""

import inspect
from collections.abc import Callable

import comfy.model_management
import torch
from comfy.weight_adapter import BypassInjectionManager

# where a layer's patches lie that core's dynamic VRAM applies, and requantizes after, on the way in
PAGED_PATCH = "weight_lowvram_function"
# what core hangs on a model and its modules while patchers load it
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
    """What core's bypass made a PatcherInjection's `inject` from; None for another pack's."""
    manager = _closure(inject).get("self")
    return manager if isinstance(manager, BypassInjectionManager) else None


def compiled_keys(wrapper: Callable) -> list[str]:
    """Names in the model of the modules that a wrapper of core's TorchCompileModel swaps for compiled ones."""
    return list(_closure(wrapper)["compiled_module_dict"])


def is_page_locked(tensor: torch.Tensor) -> bool:
    """Whether core, which does it without torch's knowledge, or torch has pinned the memory of a plain tensor."""
    addresses = {tensor.data_ptr(), tensor.untyped_storage().data_ptr()}
    return bool(addresses & comfy.model_management.PINNED_MEMORY.keys()) or tensor.is_pinned()


def is_file_slice(tensor: torch.Tensor) -> bool:
    """Whether core's reader has left a plain tensor in its file."""
    return hasattr(tensor.untyped_storage(), "_comfy_tensor_file_slice")


def _closure(function: Callable) -> dict[str, object]:
    """The variables of the functions around that a function uses."""
    return dict(inspect.getclosurevars(function).nonlocals) if inspect.isfunction(function) else {}
