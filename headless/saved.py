"""Validates a saved graph: afterwards every node, slot and link has all its keys with values of the right types.

Files are also written by hand and by other programs. What the frontend itself omits gets its default; anything else is
refused, with the node's name.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from .workflow_error import WorkflowError, called

ALWAYS, NEVER, BYPASS = 0, 2, 4  # a node's `mode`
AGAIN = "Mend the file, or open the workflow in ComfyUI and save it again."
MODES = range(5)
SHOWN = ("proxyWidgets", "proxyWidgetErrorQuarantine")  # properties, see promotion.py
Json = dict[str, Any]


def definitions(workflow: Mapping[str, Any]) -> dict[str, Json]:
    """Id -> graph of every subgraph defined in the file, nested definitions included."""
    found: dict[str, Json] = {}
    waiting = [workflow]
    while waiting:
        of = _mapping(waiting.pop(), "definitions", "the file")
        for entry in _list(of, "subgraphs", "definitions"):
            _need(isinstance(entry, Mapping) and isinstance(entry.get("id"), str), "a subgraph has no id")
            where = f"the subgraph {entry.get('name') or entry['id']}"
            found[entry["id"]] = graph(entry, where)
            waiting.append(entry)
    return found


def graph(content: Mapping[str, Any], where: str = "the workflow") -> Json:
    """Validate the workflow or a subgraph. Links become {id: (origin node, origin slot)}. Raises WorkflowError."""
    _need(isinstance(content.get("nodes"), list), f"{where} has no list of nodes")
    nodes = [node(entry, index, where) for index, entry in enumerate(content["nodes"])]
    numbers = [entry["id"] for entry in nodes]
    twice = [number for number, times in Counter(numbers).items() if times > 1]
    _need(not twice, f"{where} has several nodes with the id {', '.join(twice)}")
    return {
        "name": content.get("name") if isinstance(content.get("name"), str) else "",
        "nodes": nodes,
        "links": dict(_links(content, nodes, where)),
        "inputs": [_shown(entry, where) for entry in _list(content, "inputs", where)],
        "outputs": [_shown(entry, where) for entry in _list(content, "outputs", where)],
        "extra": _mapping(content, "extra", where),
    }


def check(workflow: Mapping[str, Any]) -> None:
    """Raises WorkflowError for anything malformed in a workflow or its subgraphs."""
    graph(workflow)
    definitions(workflow)


def node(entry: Any, index: int, where: str) -> Json:
    _need(isinstance(entry, Mapping), f"entry {index} among the nodes of {where} is no node")
    number, kind = entry.get("id"), entry.get("type")
    _need(_is_id(number), f"entry {index} among the nodes of {where} has no id")
    _need(isinstance(kind, str), f"node {number} of {where} has no type")
    name = called(entry)
    mode = entry.get("mode", ALWAYS)
    mode = ALWAYS if mode is None else mode
    _need(mode in MODES, f"{name} has mode {mode!r}, which is none")
    values = entry.get("widgets_values")
    _need(isinstance(values, list | Mapping | None), f"{name} has {_kind(values)} in place of its widgets' values")
    return {
        "id": str(number),
        "type": kind,
        "title": entry.get("title") if isinstance(entry.get("title"), str) else "",
        "mode": mode,
        "inputs": [_slot(slot, "input", name) for slot in _list(entry, "inputs", name, empty=False)],
        "outputs": [_slot(slot, "output", name) for slot in _list(entry, "outputs", name, empty=False)],
        "widgets_values": values or [],
        "properties": _properties(entry, name),
    }


def _slot(slot: Any, what: str, name: str) -> Json:
    _need(isinstance(slot, Mapping), f"{name} has {_kind(slot)} among its {what}s")
    own = slot.get("name")
    _need(isinstance(own, str) or (own is None and what == "output"), f"{name} has an {what} without a name")
    link = slot.get("link")
    _need(link is None or _is_id(link), f"{name} has {_kind(link)} as the link of its input {own}")
    widget = slot.get("widget")
    _need(widget is None or isinstance(widget, Mapping), f"{name} has {_kind(widget)} as the widget of its input {own}")
    found = {"name": own, "type": type_name(slot.get("type")), "link": None if link is None else str(link)}
    return found if widget is None else {**found, "widget": True}


def type_name(kind: Any) -> Any:
    """The name of a type; that of an old combo is the list of its choices."""
    return "COMBO" if isinstance(kind, list) else kind if isinstance(kind, str | int) else "*"


def _shown(entry: Any, where: str) -> Json:
    """An input or output of a subgraph."""
    sound = isinstance(entry, Mapping) and isinstance(entry.get("name"), str)
    _need(sound, f"{where} has an input or output without a name")
    links = [str(link) for link in _list(entry, "linkIds", where)]
    return {"name": entry["name"], "type": type_name(entry.get("type")), "linkIds": links, "link": None}


def _properties(entry: Mapping[str, Any], name: str) -> Json:
    """A node's properties; the entries that promotion.py reads are validated."""
    found = _mapping(entry, "properties", name)
    if isinstance(found.get("proxyWidgets"), str):  # as some releases of the frontend wrote it
        found["proxyWidgets"] = _parsed(found["proxyWidgets"], name)
    found |= {key: _list(found, key, name) for key in SHOWN}
    for shown in found["proxyWidgets"]:
        _need(is_pair(shown), f"{name} shows {shown!r}, which is no widget of a node")
    for kept in found["proxyWidgetErrorQuarantine"]:
        sound = isinstance(kept, Mapping) and is_pair(kept.get("originalEntry"))
        _need(sound, f"{name} keeps a widget that names no node")
    return found


def _parsed(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WorkflowError(f"{name} shows widgets in a text that is not JSON. {AGAIN}") from error


def _links(content: Mapping[str, Any], nodes: list[Json], where: str) -> Iterator[tuple[str, tuple[str, int]]]:
    """Validate links, which are lists in schema 0.4 and mappings in schema 1."""
    for index, link in enumerate(_list(content, "links", where)):
        if isinstance(link, Mapping):
            number, origin, slot = link.get("id"), link.get("origin_id"), link.get("origin_slot")
        else:
            number, origin, slot = link[:3] if isinstance(link, list) and len(link) >= 5 else (None, None, None)
        sound = _is_id(number) and _is_id(origin) and is_place(slot)
        if not sound:
            into = " and ".join(called(node) for node in nodes if _has_link(node, link, number))
            between = f", which is to end at {into}," if into else ""
            raise WorkflowError(
                f"link {index} of {where}{between} has no id, no origin or no slot: {link!r:.80}. {AGAIN}"
            )
        yield str(number), (str(origin), slot)


def _has_link(node: Json, link: Any, number: Any) -> bool:
    target = link[3] if isinstance(link, list) and len(link) > 3 else None
    target = link.get("target_id") if isinstance(link, Mapping) else target
    return node["id"] == str(target) or any(slot["link"] == str(number) for slot in node["inputs"])


def _mapping(of: Mapping[str, Any], key: str, where: str) -> Json:
    found = of.get(key)
    _need(found is None or isinstance(found, Mapping), f"{where} has {_kind(found)} as its {key}")
    return dict(found or {})


def _list(of: Mapping[str, Any], key: str, where: str, empty: bool = True) -> list[Any]:
    """The list under a key. empty: null counts as an empty list."""
    found = of.get(key, []) if not empty else of.get(key) or []
    _need(isinstance(found, list), f"{where} has {_kind(found)} in place of its list of {key}")
    return found


def _need(sound: bool, what: str) -> None:
    if not sound:
        raise WorkflowError(f"{what}. {AGAIN}")


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "a text"}
    return names.get(type(value), "a list" if isinstance(value, list) else "an object")


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def is_place(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_pair(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) >= 2 and _is_id(entry[0]) and isinstance(entry[1], str)
