"""Browser-only nodes that a prompt does not need: titles, switches of groups, notes of a node pack."""

from typing import TYPE_CHECKING, Any

from .roles import UNKNOWN
from .saved import NEVER
from .slots import ANY_TYPE

if TYPE_CHECKING:
    from .graph import Graph

Node = dict[str, Any]


def is_decoration(node: Node, graph: "Graph") -> bool:
    """Whether a node of a type that the server lacks can be dropped: it feeds no node of the server, and its inputs
    take any type. One with an input for pictures, say, may be there to save them."""
    seen: set[str] = set()
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if one["id"] in seen:
            continue
        seen.add(one["id"])
        takes = any(slot["link"] in graph.links and slot["type"] not in ANY_TYPE for slot in one["inputs"])
        if takes or graph.shared.roles.of(one) != UNKNOWN or one["id"] in graph.instances:
            return False
        if any(
            graph.links.get(link, ("",))[0] == one["id"]
            for entry in graph.content["outputs"]
            for link in entry["linkIds"]
        ):
            return False
        waiting += takers(one, graph)
    return True


def takers(node: Node, graph: "Graph") -> list[Node]:
    """The nodes that a node feeds, without muted ones."""
    found = (
        graph.targets[link][0]
        for link, origin in graph.links.items()
        if origin[0] == node["id"] and link in graph.targets
    )
    return [taker for taker in found if taker["mode"] != NEVER]
