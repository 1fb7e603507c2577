"""Which slots the frontend lets be linked, and where a bypassed node's input goes."""

from collections.abc import Mapping
from typing import Any

INPUTS, OUTPUTS = "-10", "-20"  # the nodes inside a subgraph that its inputs come from, and where its outputs go
ANY_TYPE = ("*", "", 0)

Slot = Mapping[str, Any]


def bypass_input(slots: list[Slot], given: Any, place: int, wanted: Any) -> Slot | None:
    """The input that a bypassed node hands to its output number `place`, of type `given`, for an input of type
    `wanted`: that of the same place if its type fits, else the first of that very type, else the first that fits."""
    if wanted in ANY_TYPE:
        return next(iter(slots[place : place + 1] or slots), None)
    fitting = [slot for slot in slots if fits(slot["type"], given) and fits(slot["type"], wanted)]
    if place < len(slots) and slots[place] in fitting:
        return slots[place]
    return next((slot for slot in slots if slot["type"] == wanted), next(iter(fitting), None))


def fits(one: Any, other: Any) -> bool:
    """Whether the frontend links slots of these types; a type may be several with commas between them."""
    if one in ANY_TYPE or other in ANY_TYPE:
        return True
    return bool(kinds(one) & kinds(other))


def kinds(type_name: Any) -> set[str]:
    return set(str(type_name).lower().split(","))
