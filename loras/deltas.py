"""What a LoRA file changes of one tensor, in core's terms, and whether two of them are the same change."""

from dataclasses import dataclass

import comfy.lora
import torch
from comfy.weight_adapter import WeightAdapterBase

from .errors import LoRAError
from .targets import Places, Target, name_of, rows_of

# of two spellings of one change: what rounding to 8 bits may leave between them, relative; other LoRAs are 1 apart
SAME = 0.05
PROBES = 8
# of core's tuple of a lora's factors: what makes it more than a product
_UP, _DOWN, _ALPHA, _MORE = 0, 1, 2, slice(3, None)


@dataclass(frozen=True, eq=False)
class Delta:
    """`patch`: what core's add_patches takes for `target`. `keys`: of the file; `suffixes`: as core spells them."""

    target: Target
    patch: object
    keys: tuple[str, ...]
    suffixes: frozenset[str]


def once(file: str, deltas: list[Delta], places: Places) -> tuple[list[Delta], dict[str, str]]:
    """(those that remain when each change counts once, unused keys -> why). A fused layer stands for its parts. Raises
    LoRAError for two spellings of one weight that differ."""
    kept: list[Delta] = []
    unused: dict[str, str] = {}
    held: dict[str, list[Delta]] = {}
    for delta in sorted(deltas, key=lambda delta: -_span(delta, places)[1]):
        others = [other for other in held.get(name_of(delta.target), []) if _overlap(delta, other, places)]
        for other in others:
            if not _same(delta, other, places):
                raise LoRAError(
                    f"{file}: {delta.keys[0]} and {other.keys[0]} change the same weight in different ways, and a file "
                    "holds one LoRA. Take the tensors of one of the two spellings out of it."
                )
        if others:
            unused |= dict.fromkeys(delta.keys, f"is for the same tensor as {others[0].keys[0]}, the same change")
        else:
            kept.append(delta)
            held.setdefault(name_of(delta.target), []).append(delta)
    return [delta for delta in deltas if delta in kept], unused


def _span(delta: Delta, places: Places) -> tuple[int, int]:
    """(first row, number of rows); as many as there can be where the shape is not known."""
    rows = rows_of(delta.target)
    if rows is not None:
        return rows[1:]
    shape = places.shape(name_of(delta.target))
    return 0, shape[0] if shape else 2**62


def _overlap(a: Delta, b: Delta, places: Places) -> bool:
    (first, count), (other, others) = _span(a, places), _span(b, places)
    return first < other + others and other < first + count


def _same(a: Delta, b: Delta, places: Places) -> bool:
    """Whether the rows of `a` change as the same ones of `b`, which has as many or more, do."""
    if a.target == b.target and _equal(a.patch, b.patch):
        return True
    if not (_is_plain(a.patch) and _is_plain(b.patch)):
        return False
    shape = places.shape(name_of(a.target))
    (first, count), (other, others) = _span(a, places), _span(b, places)
    if shape is None or not (other <= first and first + count <= other + others):
        return False
    columns = torch.Size(shape[1:]).numel()
    probes = torch.randn((columns, PROBES), generator=torch.Generator().manual_seed(0))
    ours, theirs = (_on(delta, places, probes) for delta in (a, b))
    theirs = theirs[first - other : first - other + count]
    return bool((ours - theirs).norm() <= SAME * torch.maximum(ours.norm(), theirs.norm()))


def _on(delta: Delta, places: Places, probes: torch.Tensor) -> torch.Tensor:
    """[rows, PROBES], what the change makes of the probes, rows in the order of the model's."""
    patch, change = delta.patch, delta.target[2] if len(delta.target) == 3 and rows_of(delta.target) is None else None
    if isinstance(patch, WeightAdapterBase) and patch.name == "lora":
        up, down = (patch.weights[index].float().flatten(1) for index in (_UP, _DOWN))
        scale = 1.0 if patch.weights[_ALPHA] is None else patch.weights[_ALPHA] / down.shape[0]
        found = up @ (down @ probes) * scale
    else:
        zeros = torch.zeros(places.shape(delta.target))
        found = comfy.lora.calculate_weight([(1.0, patch, 1.0, None, None)], zeros, name_of(delta.target))
        found = found.reshape(len(found), -1) @ probes
    return found if change is None else change(found)


def _is_plain(patch: object) -> bool:
    """Whether the change is a sum, whatever the weight is."""
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
