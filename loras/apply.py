"""Applies a LoRA to a loaded model: merged into the weights, or beside them (bypass), by core's own code."""

from collections.abc import Mapping

import comfy.lora
import torch
from comfy_kitchen.tensor import QuantizedTensor

from ..common.log import log
from ..formats.bits import bits_per_code
from .bypass import add_beside
from .experts import expert_in, tensors_for
from .non_leaf import core_patches, replace
from .shapes import TUCKER
from .targets import WEIGHT, LoRATargets, Target
from .translate import Translated, is_adapter, translate

AUTO, MERGE, BYPASS = "auto", "merge", "bypass"
MODES = (AUTO, MERGE, BYPASS)
DIFFUSION_MODEL = "diffusion_model."
# bits of a code from which on merging is fine. Below, rounding the sum to the nearest may cost more than a LoRA
# brings: on the demo's model with int4-g128 24.1 dB beside the weights, 22.1 without the LoRA, 21.7 merged
ENOUGH_BITS = 6
WHY_BESIDE = (
    "It is added beside weights of 4 bits: merged into them it would be rounded with them, which in our test cost more "
    "than the LoRA brought."
)
# core's adapters that give the same result beside a weight as merged into it
BESIDE = frozenset({"lora", "loha", "lokr"})
# suffixes that scale or enlarge the weight itself, or that core's bypass adapters cannot compute
NEED_THE_WEIGHT = TUCKER | {"dora_scale", "reshape_weight"}
# what a file for both experts of Wan 2.2 has for one; a line of the report says for which
ONE_EXPERTS = "The LoRA's part for one expert"
CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)


def apply_lora(
    patcher,
    tensors: Mapping[str, torch.Tensor],
    file: str,
    strength: float = 1.0,
    mode: str = AUTO,
    expert: str = AUTO,
):
    """ModelPatcher -> (a clone with the LoRA, report). tensors: those of the file called `file`.

    mode: "merge" adds to the weights, which are requantized with fresh scales; "bypass" adds to the layers' outputs
    where it can and merges the rest; "auto" is bypass for weights of fewer than ENOUGH_BITS and merge for others.
    expert: "high" or "low" selects the tensors of one expert in a file for both of Wan 2.2's; "auto" takes the model's
    own. Raises LoRAError.
    """
    parameters = dict(patcher.model.named_parameters())
    targets = targets_of(patcher.model)
    notes = getattr(tensors, "notes", ())
    taken, lines = tensors_for(file, tensors, expert_in(patcher), expert)
    lines = [*notes, *lines]
    translated = translate(file, taken, targets)
    beside = {
        name: patch
        for name, patch in translated.patches.items()
        if mode != MERGE
        and _can_be_beside(patcher.model, translated, name)
        and (mode == BYPASS or _few_bits(parameters[name]))
    }
    merged = {name: patch for name, patch in translated.patches.items() if name not in beside}
    replaced = {
        name: patch for name, patch in merged.items() if name in parameters and not core_patches(patcher.model, name)
    }
    made = patcher.clone()
    made.add_patches({name: patch for name, patch in merged.items() if name not in replaced}, strength)
    replace(made, replaced, strength)
    if beside:
        add_beside(made, beside, strength)
    verdict = translated.verdict(*([ONE_EXPERTS] if len(taken) < len(tensors) else []))
    summary = f"{verdict}: {file}, strength {strength:g} ({_how(len(merged), len(beside))})."
    unused = translated.lines(targets)
    why = [WHY_BESIDE] if beside and mode == AUTO else []
    log.info(" ".join([summary, *why]))
    for line in [*lines, *unused]:
        log.warning("%s: %s", file, line)
    return made, "\n".join([summary, *why, *lines, *unused])


def _how(merged: int, beside: int) -> str:
    """In the words of the input mode; where a LoRA is put on in both ways, how much in which."""
    if merged and beside:
        return f"{merged} tensor{'s' * (merged > 1)} merged, {beside} layer{'s' * (beside > 1)} bypassed"
    return "merged" if merged else "bypassed" if beside else "changes nothing"


def targets_of(model: torch.nn.Module) -> LoRATargets:
    """The tensors of core's MODEL that a LoRA may change, with the names that core itself knows for them."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    shapes = {
        name.removeprefix(DIFFUSION_MODEL): tuple(tensor.shape)
        for name, tensor in tensors
        if name.startswith(DIFFUSION_MODEL)
    }
    return LoRATargets(shapes, DIFFUSION_MODEL, comfy.lora.model_lora_keys_unet(model, {}))


def _can_be_beside(model: torch.nn.Module, translated: Translated, name: Target) -> bool:
    patch = translated.patches[name]
    if not isinstance(name, str) or not name.endswith(WEIGHT) or not is_adapter(patch):
        return False
    # core has no other ways for layers of other kinds, nor one for convolutions that is right for all its adapters
    layer = model.get_submodule(name.removesuffix(WEIGHT))
    fits = hasattr(layer, "in_features") or (patch.name == "lora" and isinstance(layer, CONVOLUTIONS))
    return fits and patch.name in BESIDE and not NEED_THE_WEIGHT & translated.components[name]


def _few_bits(weight: torch.Tensor) -> bool:
    return isinstance(weight, QuantizedTensor) and bits_per_code(weight) < ENOUGH_BITS
