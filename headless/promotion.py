"""The values of promoted widgets: those inside a subgraph that its instance shows on itself.

Today's files have a value for each input that is a widget, in input order. Older files list the widgets, ("node",
"name"), in a property and have the values in that order; the frontend converts them when it opens the file.
"""

from collections.abc import Mapping, Sequence
from typing import Any

PROXIES = "proxyWidgets"
NOT_MOVED = "proxyWidgetErrorQuarantine"
ITSELF = "-1"  # as a node: the instance's own input
CONTROL = "control_after_generate"  # a widget that is no input


def own_values(host: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Input name -> value. names: the instance's inputs that are widgets, in order."""
    properties = host.get("properties", {})
    saved = [] if properties.get(PROXIES) else _saved(host)
    found = {name: value for name, value in zip(names, saved, strict=False) if value is not None}
    for entry in reversed(properties.get(NOT_MOVED, [])):
        node, name = entry["originalEntry"][:2]
        if node == ITSELF and entry.get("hostValue") is not None:
            found[name] = entry["hostValue"]
    return found


def proxied_values(host: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """(node inside, widget) -> value, in an older file."""
    proxies = host.get("properties", {}).get(PROXIES, [])
    pairs = zip(proxies, _saved(host), strict=False)
    return {(str(node), name): value for (node, name, *_), value in pairs if value is not None and name != CONTROL}


def _saved(host: Mapping[str, Any]) -> list[Any]:
    values = host.get("widgets_values") or []
    return values if isinstance(values, list) else []
