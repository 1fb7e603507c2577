"""Which layers of a model can share their input now, by kernels, surrounding code and other nodes' hooks."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from comfy.weight_adapter.bypass import BypassForwardHook
from torch.utils.weak import WeakIdKeyDictionary

from ...families.family import SharingModule
from ...kernels.kernel import Steps
from ...kernels.shared_input import Group
from ...linear.layers import is_ours
from .read_code import is_as_read, row_of

PACK = __name__.split(".")[0]
CORES_ADAPTERS, CORES_LAYERS = "comfy.weight_adapter", "comfy.ops"
# first weight of a group -> weak references to the others, and the verdict of `read_the_same`
_READS: WeakIdKeyDictionary = WeakIdKeyDictionary()


@dataclass
class Found:
    """A module of core with layers that could share. `groups`: layers that do. `reasons`: why others do not."""

    name: str
    module: torch.nn.Module
    row: SharingModule
    groups: list[Group] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def found_in(model: torch.nn.Module) -> Iterator[Found]:
    """Every module of `model` that has a row in the table and layers that run on this pack's kernels."""
    for name, module in model.named_modules():
        row = row_of(module)
        if row is not None:
            yield from _examined(Found(name, module, row))


def _examined(found: Found) -> Iterator[Found]:
    groups = [[(name, getattr(found.module, name)) for name in names] for names in found.row.groups]
    groups = [group for group in groups if any(is_ours(layer) for _, layer in group)]
    if not groups:
        return
    if not is_as_read(found.row, found.module):
        found.reasons.append(f"ComfyUI's {_short(found.row)} is not as it was when it was read for this")
    elif "forward" in found.module.__dict__:
        found.reasons.append(f"another node has replaced what {_short(found.row)} does")
    else:
        for group in groups:
            _split(found, group)
    yield found


def _split(found: Found, group: list[tuple[str, torch.nn.Module]]) -> None:
    """Add to `found` the groups of layers whose kernels quantize the same way. Layers that are not ours are left out
    and do not break a group."""
    foreign = [name for name, layer in group if not _is_plain(layer)]
    if foreign:
        found.reasons.append(f"another node hooks into {', '.join(foreign)}")
        return
    by_steps: dict[Steps | None, list[tuple[str, torch.nn.Module]]] = {}
    for name, layer in (each for each in group if is_ours(each[1])):
        by_steps.setdefault(layer.kernel.steps, []).append((name, layer))
        if layer.kernel.steps is None:
            found.reasons.append(_why_one_pass(layer.kernel))
    for steps, members in by_steps.items():
        names, layers = (tuple(each) for each in zip(*members, strict=True))
        if steps is None or len(layers) < 2:
            continue
        if read_the_same(layers, steps):
            found.groups.append(layers)
        else:
            what = " and ".join(steps.reads)
            found.reasons.append(f"{', '.join(names)} have a {what} of their own each")


def _why_one_pass(kernel) -> str:
    if kernel.activation == "float":
        return f"kernel {kernel.name} does not quantize activations"
    return f"kernel {kernel.name} quantizes activations in the call that multiplies them"


def _is_plain(layer: torch.nn.Module) -> bool:
    """Whether only core's code and ours sees the layer's input. Core's bypass LoRAs read it and never write to it."""
    hooks = (*layer._forward_hooks.values(), *layer._forward_pre_hooks.values())
    known = hasattr(layer, "model_plan") or type(layer).__module__ == CORES_LAYERS
    return known and all(_is_of_pack(hook) for hook in hooks) and _is_cores_bypass(layer.__dict__.get("forward"))


def _is_of_pack(hook) -> bool:
    return getattr(hook, "__module__", "").split(".")[0] == PACK


def _is_cores_bypass(forward) -> bool:
    if forward is None:
        return True
    hook = getattr(forward, "__self__", None)
    if type(hook) is BypassForwardHook and type(hook.adapter).__module__.startswith(CORES_ADAPTERS):
        return _is_cores_bypass(hook.original_forward)
    # what an injection that was taken off leaves behind
    return isinstance(hook, torch.nn.Module) and getattr(forward, "__func__", None) is type(hook).forward


def read_the_same(layers: Group, steps: Steps) -> bool:
    """Whether `steps` quantizes an input in the same way for all these layers: the parameters it reads are equal.
    Waits for the GPU, so the verdict is cached for the layers' present weights."""
    if not steps.reads:
        return True
    first, *others = (layer.weight for layer in layers)
    known, verdict = _READS.get(first, ((), None))
    if len(known) != len(others) or any(ref() is not weight for ref, weight in zip(known, others, strict=True)):
        verdict = all(_equal(first._params, other._params, name) for other in others for name in steps.reads)
        _READS[first] = tuple(torch.utils.weak.TensorWeakRef(weight) for weight in others), verdict
    return verdict


def _equal(first, other, name: str) -> bool:
    a, b = getattr(first, name), getattr(other, name)
    return a is b or torch.equal(a.cpu(), b.cpu())


def _short(row: SharingModule) -> str:
    return row.forward.split(":")[1].split(".")[0]
