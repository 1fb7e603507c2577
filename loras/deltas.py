"""A delta: the change that a LoRA makes to one tensor, as core's patch, and whether two deltas are equal."""

from dataclasses import dataclass

import comfy.lora
import torch
from comfy.weight_adapter import WeightAdapterBase

from .errors import LoRAError
from .targets import LoRATargets, Target, name_of, rows_of

# largest relative distance of two copies of one change: rounding to 8 bits. Different LoRAs are about 1 apart
SAME = 0.05
PROBES = 8
# indices in core's tuple of a lora's factors; _MORE: those that make it more than a product
_UP, _DOWN, _ALPHA, _MORE = 0, 1, 2, slice(3, None)


@dataclass(frozen=True, eq=False)
class Delta:
    """`patch`: what core's add_patches takes for `target`. `keys`: those of the file; `suffixes`: core's names."""

    target: Target
    patch: object
    keys: tuple[str, ...]
    suffixes: frozenset[str]


def deduplicated(file: str, deltas: list[Delta], targets: LoRATargets) -> tuple[list[Delta], dict[str, str]]:
    """(deltas without duplicates, unused keys -> why). The delta of a fused layer replaces equal ones of its slices.
    Raises LoRAError for two different deltas of the same rows."""
    kept: list[Delta] = []
    unused: dict[str, str] = {}
    by_tensor: dict[str, list[Delta]] = {}
    for delta in sorted(deltas, key=lambda delta: -_span(delta, targets)[1]):
        others = [other for other in by_tensor.get(name_of(delta.target), []) if _overlap(delta, other, targets)]
        for other in others:
            if not _same(delta, other, targets):
                raise LoRAError(
                    f"{file}: {delta.keys[0]} and {other.keys[0]} change the same weight in different ways. Remove the "
                    "tensors of one of the two spellings from the file."
                )
        if others:
            unused |= dict.fromkeys(delta.keys, f"is for the same tensor as {others[0].keys[0]}, the same change")
        else:
            kept.append(delta)
            by_tensor.setdefault(name_of(delta.target), []).append(delta)
    return [delta for delta in deltas if delta in kept], unused


def _span(delta: Delta, targets: LoRATargets) -> tuple[int, int]:
    """(first row, number of rows); if the shape is not known, more rows than any tensor has."""
    rows = rows_of(delta.target)
    if rows is not None:
        return rows[1:]
    shape = targets.shape(name_of(delta.target))
    return 0, shape[0] if shape else 2**62


def _overlap(a: Delta, b: Delta, targets: LoRATargets) -> bool:
    (first, count), (other, others) = _span(a, targets), _span(b, targets)
    return first < other + others and other < first + count


def _same(a: Delta, b: Delta, targets: LoRATargets) -> bool:
    """Whether `a` and `b` change the rows of `a` in the same way. `b` has at least as many rows."""
    if a.target == b.target and _equal(a.patch, b.patch):
        return True
    if not (_is_plain(a.patch) and _is_plain(b.patch)):
        return False
    shape = targets.shape(name_of(a.target))
    (first, count), (other, others) = _span(a, targets), _span(b, targets)
    if shape is None or not (other <= first and first + count <= other + others):
        return False
    columns = torch.Size(shape[1:]).numel()
    probes = torch.randn((columns, PROBES), generator=torch.Generator().manual_seed(0))
    ours, theirs = (_on(delta, targets, probes) for delta in (a, b))
    theirs = theirs[first - other : first - other + count]
    return bool((ours - theirs).norm() <= SAME * torch.maximum(ours.norm(), theirs.norm()))


def _on(delta: Delta, targets: LoRATargets, probes: torch.Tensor) -> torch.Tensor:
    """The delta times probes [columns, PROBES] -> [rows, PROBES], rows in the order of the model's."""
    patch, change = delta.patch, delta.target[2] if len(delta.target) == 3 and rows_of(delta.target) is None else None
    if isinstance(patch, WeightAdapterBase) and patch.name == "lora":
        up, down = (patch.weights[index].float().flatten(1) for index in (_UP, _DOWN))
        scale = 1.0 if patch.weights[_ALPHA] is None else patch.weights[_ALPHA] / down.shape[0]
        found = up @ (down @ probes) * scale
    else:
        zeros = torch.zeros(targets.shape(delta.target))
        found = comfy.lora.calculate_weight([(1.0, patch, 1.0, None, None)], zeros, name_of(delta.target))
        found = found.reshape(len(found), -1) @ probes
    return found if change is None else change(found)


def _is_plain(patch: object) -> bool:
    """Whether the patch adds the same delta whatever the weight is."""
    if not isinstance(patch, WeightAdapterBase):
        return patch[0] == "diff"
    return patch.name in ("loha", "lokr") or (patch.name == "lora" and not any(map(_given, patch.weights[_MORE])))


def _given(value: object) -> bool:
    return value is not None


def _equal(a: object, b: object) -> bool:
    if isinstance(a, WeightAdapterBase) and isinstance(b, WeightAdapterBase):
        return a.name == b.name and _equal(a.weights, b.weights)
    if isinstance(a, tuple | list) and isinstance(b, tuple | list):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return a.shape == b.shape and torch.equal(a, b)
    return type(a) is type(b) and a == b
