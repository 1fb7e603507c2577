"""A server's node list (/object_info), reduced to well-formed entries."""

from typing import Any

from .specs import DYNAMIC_COMBO

GROUPS = ("required", "optional")


def sound(nodes: dict[str, Any]) -> dict[str, Any]:
    """The well-formed entries; a node with a malformed one is left out, as if it were not installed."""
    return {name: node for name, node in nodes.items() if isinstance(node, dict) and _is_node(node)}


def _is_node(node: dict[str, Any]) -> bool:
    order = node.get("input_order", {})
    return (
        _are_groups(node.get("input"))
        and isinstance(node.get("output", []), list)
        and isinstance(node.get("display_name", ""), (str, type(None)))
        and isinstance(order, dict)
        and all(_is_order(order[group], node["input"].get(group, {})) for group in GROUPS if group in order)
    )


def _are_groups(inputs: Any) -> bool:
    return isinstance(inputs, dict) and all(_are_inputs(inputs.get(group, {})) for group in GROUPS)


def _are_inputs(specs: Any) -> bool:
    return isinstance(specs, dict) and all(map(_is_spec, specs.values()))


def _is_order(names: Any, specs: dict[str, Any]) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) and name in specs for name in names)


def _is_spec(spec: Any) -> bool:
    """Whether `spec` is [type or choices, options]; options of a dynamic combo have inputs of their own."""
    if not isinstance(spec, list) or not spec or not isinstance(spec[0], (str, list)):
        return False
    options = spec[1] if len(spec) > 1 else {}
    if not isinstance(options, dict) or not isinstance(options.get("options", []), list):
        return False
    return spec[0] != DYNAMIC_COMBO or _are_branches(options.get("options"))


def _are_branches(choices: Any) -> bool:
    return bool(choices) and all(map(_is_branch, choices))


def _is_branch(choice: Any) -> bool:
    return isinstance(choice, dict) and isinstance(choice.get("key"), str) and _are_groups(choice.get("inputs"))
