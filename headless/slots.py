"""The frontend's rules for slots: which types can be linked, and which input a bypassed node passes on."""

from collections.abc import Mapping
from typing import Any

INPUTS, OUTPUTS = "-10", "-20"  # the nodes inside a subgraph that its inputs come from, and where its outputs go
ANY_TYPE = ("*", "", 0)

Slot = Mapping[str, Any]


def bypass_input(slots: list[Slot], given: Any, index: int, wanted: Any) -> Slot | None:
    """The input slot that a bypassed node passes to its output `index`, of type `given`, for an input of type `wanted`:
    the one of the same index if its type fits, else the first of exactly that type, else the first that fits."""
    if wanted in ANY_TYPE:
        return next(iter(slots[index : index + 1] or slots), None)
    fitting = [slot for slot in slots if fits(slot["type"], given) and fits(slot["type"], wanted)]
    if index < len(slots) and slots[index] in fitting:
        return slots[index]
    return next((slot for slot in slots if slot["type"] == wanted), next(iter(fitting), None))


def fits(one: Any, other: Any) -> bool:
    """Whether the frontend links slots of these types; a type may be a comma-separated list."""
    if one in ANY_TYPE or other in ANY_TYPE:
        return True
    return bool(kinds(one) & kinds(other))


def kinds(type_name: Any) -> set[str]:
    return set(str(type_name).lower().split(","))
