"""Widgets that a node's script adds in the browser: they are not in /object_info, but the node accepts them."""

from collections.abc import Callable, Mapping
from typing import Any

Node = Mapping[str, Any]
# found inputs, and the values that are left
Taken = tuple[dict[str, Any], list[Any]]


def take(node: Node, values: list[Any]) -> Taken:
    """The inputs that such a node sends. values: saved values that belong to no declared widget."""
    return TAKERS[node["type"]](node, values) if node["type"] in TAKERS else ({}, values)


def _power_loras(node: Node, values: list[Any]) -> Taken:
    """An input for each LoRA row, without the header and the button. The second strength is sent only if the node shows
    it; its default is 1."""
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
    """The inputs of a CustomCombo beside its choice. values: the index of the choice, then all options."""
    saved = node["widgets_values"]
    options = values[1:]
    index = options.index(saved[0]) if saved and saved[0] in options else -1
    return {"index": index, **{f"option{number}": option for number, option in enumerate(options, 1)}}, []


def _nothing(node: Node, values: list[Any]) -> Taken:
    """No inputs: the values are what the node showed after a run, and how."""
    return {}, []


TAKERS: dict[str, Callable[[Node, list[Any]], Taken]] = {
    **dict.fromkeys(("PreviewAny", "GetImageSize", "ImageCompare"), _nothing),
    "CustomCombo": _choices,
    "Power Lora Loader (rgthree)": _power_loras,
    "Lora Loader (LoraManager)": _managed_loras,
    "Lora Stacker (LoraManager)": _managed_loras,
}
