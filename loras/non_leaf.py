"""LoRAs for parameters of non-leaf modules, such as Wan's modulation, which core's patcher never patches. They become
object patches, which core applies and removes with the other patches."""

from collections.abc import Mapping

import comfy.lora
import torch


def core_patches(model: torch.nn.Module, name: str) -> bool:
    """Whether core merges patches of the tensor `name`: it skips modules whose children have parameters."""
    owner = model.get_submodule(name.rpartition(".")[0])
    own = dict(owner.named_parameters(recurse=False))
    return all(each in own for each, _ in owner.named_parameters())


def replace(patcher, patches: Mapping[str, object], strength: float) -> None:
    """Patch parameters of `patcher` in place, on top of earlier object patches. patches: parameter name -> what core's
    add_patches would take."""
    for name, patch in patches.items():
        parameter = patcher.get_model_object(name)
        value = comfy.lora.calculate_weight(
            [(strength, patch, 1.0, None, None)], parameter.detach().to(torch.float32, copy=True), name
        )
        patcher.add_object_patch(name, torch.nn.Parameter(value.to(parameter.dtype), requires_grad=False))
