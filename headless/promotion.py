"""What an instance of a subgraph says about the widgets inside it that it shows on itself.

Files of today keep one value for each input that is a widget, in their order. Older ones list the widgets, ("node",
"name"), in a property and keep the values in that order; the frontend moves them over as it opens the file.
"""

from collections.abc import Mapping, Sequence
from typing import Any

PROXIES = "proxyWidgets"
NOT_MOVED = "proxyWidgetErrorQuarantine"
ITSELF = "-1"  # as a node: the instance's own input
CONTROL = "control_after_generate"  # a widget that is no input


def own_values(host: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Input name -> value. names: the instance's inputs that are widgets, in their order."""
    properties = host.get("properties", {})
    saved = [] if properties.get(PROXIES) else _saved(host)
    found = {name: value for name, value in zip(names, saved, strict=False) if value is not None}
    for entry in reversed(properties.get(NOT_MOVED, [])):
        node, name = entry["originalEntry"][:2]
        if node == ITSELF and entry.get("hostValue") is not None:
            found[name] = entry["hostValue"]
    return found


def proxied_values(host: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """(node inside, widget) -> value, of those that have one."""
    proxies = host.get("properties", {}).get(PROXIES, [])
    pairs = zip(proxies, _saved(host), strict=False)
    return {(str(node), name): value for (node, name, *_), value in pairs if value is not None and name != CONTROL}


def _saved(host: Mapping[str, Any]) -> list[Any]:
    values = host.get("widgets_values") or []
    return values if isinstance(values, list) else []
