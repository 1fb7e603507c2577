"""Widgets that a node's script adds in the browser: /object_info knows nothing of them, the node takes what comes."""

from collections.abc import Callable, Mapping
from typing import Any

Node = Mapping[str, Any]
# found inputs, and the values that are left
Taken = tuple[dict[str, Any], list[Any]]


def take(node: Node, values: list[Any]) -> Taken:
    """What such a node sends of its saved values. values: those that no declared widget took."""
    return TAKERS[node["type"]](node, values) if node["type"] in TAKERS else ({}, values)


def _power_loras(node: Node, values: list[Any]) -> Taken:
    """One row for each LoRA; the header and the button beside them mean nothing. A second strength is sent only where
    the node shows it, and is 1 then if it was never set."""
    rows = [dict(value) for value in values if isinstance(value, Mapping) and "lora" in value]
    separate = node["properties"].get("Show Strengths") == "Separate Model & Clip"
    for row in rows:
        second = row.pop("strengthTwo", None)
        if separate:
            row["strengthTwo"] = 1 if second is None else second
    found = {f"lora_{number}": row for number, row in enumerate(rows, 1)}
    left = [value for value in values if not isinstance(value, Mapping) or not ({"lora", "type"} & value.keys())]
    return found, [value for value in left if value != {}]


def _managed_loras(node: Node, values: list[Any]) -> Taken:
    lists = [value for value in values if isinstance(value, list) and all(_names_lora(entry) for entry in value)]
    return {"loras": lists[0]} if lists else {}, [value for value in values if value not in lists]


def _names_lora(entry: Any) -> bool:
    return isinstance(entry, Mapping) and {"name", "strength"} <= entry.keys()


def _choices(node: Node, values: list[Any]) -> Taken:
    """What a CustomCombo sends beside its choice. values: the index of the choice, then every option."""
    saved = node["widgets_values"]
    options = values[1:]
    index = options.index(saved[0]) if saved and saved[0] in options else -1
    return {"index": index, **{f"option{number}": option for number, option in enumerate(options, 1)}}, []


def _nothing(node: Node, values: list[Any]) -> Taken:
    """What it shows after a run, and how."""
    return {}, []


TAKERS: dict[str, Callable[[Node, list[Any]], Taken]] = {
    **dict.fromkeys(("PreviewAny", "GetImageSize", "ImageCompare"), _nothing),
    "CustomCombo": _choices,
    "Power Lora Loader (rgthree)": _power_loras,
    "Lora Loader (LoraManager)": _managed_loras,
    "Lora Stacker (LoraManager)": _managed_loras,
}
