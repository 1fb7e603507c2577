"""Parameters that core's patcher never patches: those that lie directly in a module which has layers below it, such as
Wan's modulation. A LoRA for one becomes an object patch, which core puts on and takes off with the rest."""

from collections.abc import Mapping

import comfy.lora
import torch


def core_patches(model: torch.nn.Module, name: str) -> bool:
    """Whether core merges patches for the tensor `name`: it skips modules with parameters below their own."""
    owner = model.get_submodule(name.rpartition(".")[0])
    own = dict(owner.named_parameters(recurse=False))
    return all(held in own for held, _ in owner.named_parameters())


def replace(patcher, patches: Mapping[str, object], strength: float) -> None:
    """`patches`: parameter's name -> what core's add_patches would take. Changes `patcher`, after those before it."""
    for name, patch in patches.items():
        held = patcher.get_model_object(name)
        value = comfy.lora.calculate_weight(
            [(strength, patch, 1.0, None, None)], held.detach().to(torch.float32, copy=True), name
        )
        patcher.add_object_patch(name, torch.nn.Parameter(value.to(held.dtype), requires_grad=False))
