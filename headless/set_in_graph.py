"""Values that the command line sets, written into the saved graph too: it goes into the files that the nodes save."""

from collections.abc import Iterator, Mapping
from typing import Any

from . import saved
from .widgets import read_widgets

Json = dict[str, Any]


def set_in_graph(graph: Json, object_info: Mapping[str, Any], path: str, name: str, value: Any) -> bool:
    """Changes a widget of a sound graph. path: of the node, "57:28" inside a subgraph. False where the file has no
    place of its own for it: something is linked to the input, other instances share it, or it was never saved."""
    node = find(graph, path)
    if node is None or isinstance(value, list) or node["type"] not in object_info:
        return False
    checked = saved.node(node, 0, "the workflow")
    place = read_widgets(checked, object_info[node["type"]]).places.get(name)
    linked = any(slot["name"] == name and slot["link"] is not None for slot in checked["inputs"])
    if place is None or linked:
        return False
    node["widgets_values"][place] = value
    return True


def find(graph: Json, path: str) -> Json | None:
    """A node by its path; None inside a subgraph that there are several instances of."""
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
