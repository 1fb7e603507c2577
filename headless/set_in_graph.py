"""Writes values from the command line into the saved graph too, which nodes store in the files that they save."""

from collections.abc import Iterator, Mapping
from typing import Any

from . import saved
from .widgets import read_widgets

Json = dict[str, Any]


def set_in_graph(graph: Json, object_info: Mapping[str, Any], path: str, name: str, value: Any) -> bool:
    """Change a widget in a valid graph. path: id of the node, "57:28" inside a subgraph. False if the file cannot
    store the value: the input has a link, other instances share the node, or the widget was never saved."""
    node = find(graph, path)
    if node is None or isinstance(value, list) or node["type"] not in object_info:
        return False
    checked = saved.node(node, 0, "the workflow")
    position = read_widgets(checked, object_info[node["type"]]).positions.get(name)
    linked = any(slot["name"] == name and slot["link"] is not None for slot in checked["inputs"])
    if position is None or linked:
        return False
    node["widgets_values"][position] = value
    return True


def find(graph: Json, path: str) -> Json | None:
    """A node by its path; None inside a subgraph with several instances."""
    *hosts, number = path.split(":")
    definitions = {one["id"]: one for one in subgraphs(graph)}
    kinds = [node["type"] for one in (graph, *definitions.values()) for node in one["nodes"]]
    inside = graph
    for host in hosts:
        instance = next((node for node in inside["nodes"] if str(node["id"]) == host), {})
        kind = instance.get("type")
        if kind not in definitions or kinds.count(kind) > 1:
            return None
        inside = definitions[kind]
    return next((node for node in inside["nodes"] if str(node["id"]) == number), None)


def subgraphs(graph: Json) -> Iterator[Json]:
    for inner in (graph.get("definitions") or {}).get("subgraphs") or []:
        yield inner
        yield from subgraphs(inner)
