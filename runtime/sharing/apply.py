"""Lets the layers of a MODEL share quantized inputs while it is sampled."""

import functools
from collections import Counter

import torch
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY

from ...common.compiled import plain_name
from ...kernels.shared_input import ACTIVE, Group, SharedInputs
from ...linear.layers import hooked, is_ours
from .groups import Found, found_in

WRAPPER_KEY = "x2v_quant.shared_activations"


def shared_activations(patcher):
    """ModelPatcher -> (a clone whose layers quantize a common input once, notes). Latents stay the same bit for bit.

    Layers share only where nothing can write to the input between them. Not shared: modules outside the table in
    families.py, modules that another node has changed, and compiled ones. Checked before every call of the model.
    """
    patcher = patcher.clone()
    patcher.add_wrapper_with_key(WrappersMP.APPLY_MODEL, WRAPPER_KEY, sharing)
    return patcher, notes_on(patcher.get_model_object("diffusion_model"))


def sharing(executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None, **kwargs):
    """APPLY_MODEL wrapper. Hooks and stored tensors are gone when it returns or raises."""
    options = transformer_options or {}
    call = functools.partial(executor, x, t, c_concat, c_crossattn, control, options, **kwargs)
    # hooks would be compiled in
    if COMPILE_KEY in options.get("wrappers", {}).get(WrappersMP.APPLY_MODEL, {}):
        return call()
    shared = SharedInputs()
    every = found_in(executor.class_obj.diffusion_model)
    sharing = {found.name: found for found in every if found.groups and not is_compiled(found)}

    # inputs are kept from a module's first layer to its last, in the call that the hooks are made for: another thread
    # may run the same module
    def enter(name: str, *_) -> None:
        if ACTIVE.get() is shared:
            shared.enter({layer: group for group in sharing[name].groups for layer in group})

    def leave(*_) -> None:
        if ACTIVE.get() is shared:
            shared.leave()

    modules = {name: found.module for name, found in sharing.items()}
    with hooked(modules, enter, leave, eager=False, always=True):
        token = ACTIVE.set(shared)
        try:
            return call()
        finally:
            ACTIVE.reset(token)


def is_compiled(found: Found) -> bool:
    """Whether torch.compile made the module, or one around it, of another."""
    return plain_name(found.name) != found.name


def notes_on(model: torch.nn.Module) -> list[str]:
    """Lines on what shares its input in a diffusion model, and what does not and why."""
    every = list(found_in(model))
    compiled = [found for found in every if is_compiled(found)]
    groups = Counter(
        (_names(found, group), found.row.forward.split(":")[1].split(".")[0])
        for found in every
        if found not in compiled
        for group in found.groups
    )
    notes = [f"{count} x {names} of {module} quantize their input once" for (names, module), count in groups.items()]
    reasons = Counter(reason for found in every for reason in dict.fromkeys(found.reasons))
    notes += [f"not shared in {count} modules: {reason}" for reason, count in reasons.items()]
    if compiled:
        notes.append(f"not shared in {len(compiled)} modules: they are compiled")
    if not every:
        notes.append(_why_nothing(model))
    return notes


def _names(found: Found, group: Group) -> str:
    names = {layer: name for name, layer in found.module.named_children()}
    return ", ".join(names[layer] for layer in group)


def _why_nothing(model: torch.nn.Module) -> str:
    if not any(is_ours(module) for module in model.modules()):
        return "nothing is shared: this pack multiplies no layer of this model"
    return f"nothing is shared: {type(model).__name__} has no modules whose code was read for this"
