"""Nodes of a saved workflow, subgraphs expanded: what the server runs of them, and what the widgets on an instance say.

A node inside a subgraph is called "57:28", 57 being the instance and 28 the node in its definition.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..common import limits
from .decoration import is_decoration
from .promotion import ITSELF, own_values, proxied_values
from .roles import RUN, UNKNOWN, Roles, name_of, pair, sets
from .saved import ALWAYS as ALWAYS
from .saved import BYPASS, NEVER
from .slots import INPUTS
from .specs import is_widget_input
from .widgets import Widgets, read_widgets, value_for_prompt
from .workflow_error import WorkflowError, called

Node = Mapping[str, Any]
Slot = Mapping[str, Any]


@dataclass
class Place:
    """What the graphs of one file share. `definitions`: of subgraphs, by id. `notes`: what a person is to be told.
    `nodes`: how many there are, instances counted each."""

    definitions: Mapping[str, Mapping[str, Any]]
    object_info: Mapping[str, Any]
    roles: Roles
    notes: list[str] = field(default_factory=list)
    nodes: int = 0

    def count(self, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > limits.GRAPH_NODES:
            raise WorkflowError(
                f"With its subgraphs the workflow has more than {limits.GRAPH_NODES} nodes: run it in parts."
            )

    def tell(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


class Graph:
    """The workflow itself, or one instance of a subgraph in it: `host` is then the instance's node in `outer`.
    content: see saved.py. Raises WorkflowError for a subgraph inside itself."""

    def __init__(
        self, content: Mapping[str, Any], place: Place, outer: "Graph | None" = None, host: Node | None = None
    ):
        self.content = content
        self.place = place
        self.outer = outer
        self.host = host
        self.path = "" if host is None else f"{outer.path}{host['id']}:"
        self.kinds = () if host is None else (*outer.kinds, host["type"])  # of the instances around it
        self._check_nesting()
        self.nodes = {node["id"]: node for node in content["nodes"]}
        # a link that begins nowhere is none
        self.links = {link: origin for link, origin in content["links"].items() if origin[0] in {*self.nodes, INPUTS}}
        self.targets = {slot["link"]: (node, slot) for node in content["nodes"] for slot in node["inputs"]}
        self.setters = {key_of(node): node for node in reversed(content["nodes"]) if sets(node)}
        # what the host sets: inputs of the subgraph, and widgets of (node, name) inside
        self.promoted: dict[str, Any] = {}
        self.proxied: dict[tuple[str, str], Any] = {}
        self._widgets: dict[str, Widgets] = {}
        self.instances = {
            number: Graph(place.definitions[node["type"]], place, self, node)
            for number, node in self.nodes.items()
            if node["type"] in place.definitions
        }
        if host is not None:
            self._take_host_values()

    def _check_nesting(self) -> None:
        if self.host is not None and self.kinds.count(self.host["type"]) > 1:
            raise WorkflowError(
                f"{called(self.host, self.outer.path)} is the subgraph {self.content['name']} inside itself: it has no "
                "end. Remove it there."
            )
        if len(self.kinds) > limits.GRAPH_DEPTH:
            raise WorkflowError(
                f"{called(self.host, self.outer.path)}: subgraphs lie in each other more than {limits.GRAPH_DEPTH} "
                "deep. Unpack some of them."
            )
        self.place.count(len(self.content["nodes"]))

    def _take_host_values(self) -> None:
        shown = [entry["name"] for entry in self.content["inputs"] if self._widget_source(entry) is not None]
        self.promoted = own_values(self.host, shown)
        for source, value in proxied_values(self.host).items():
            if source[0] == ITSELF:
                self.promoted[source[1]] = value
            elif source[0] in self.instances:
                self.instances[source[0]].promoted[source[1]] = value
            else:
                self.proxied[source] = value

    def executed(self) -> "Iterator[tuple[str, Graph, Node]]":
        """(id in the prompt, graph, node) of every node that the server is to run, or is to be asked for."""
        for number, node in self.nodes.items():
            if node["mode"] in (NEVER, BYPASS):
                continue
            if number in self.instances:
                yield from self.instances[number].executed()
            elif self.is_run(node):
                yield f"{self.path}{number}", self, node

    def is_run(self, node: Node) -> bool:
        role = self.place.roles.of(node)
        if role == UNKNOWN and is_decoration(node, self):
            self.place.tell(f"{called(node, self.path)} is left out: this server has none, and nothing takes from it")
            return False
        return role in (RUN, UNKNOWN)

    def widgets(self, node: Node) -> Widgets:
        """As the file has them, without what an instance of the subgraph sets."""
        number = node["id"]
        if number not in self._widgets:
            self._widgets[number] = read_widgets(node, self.place.object_info[node["type"]])
        return self._widgets[number]

    def widget_values(self, node: Node) -> dict[str, Any]:
        found = dict(self.widgets(node).found)
        set_outside = {name: value for (number, name), value in self.proxied.items() if number == node["id"]}
        found |= {name: value for name, value in set_outside.items() if name in found}
        return {name: value_for_prompt(value) for name, value in found.items()}

    def setter(self, node: Node) -> "tuple[Graph, Node] | None":
        """What sets the name that a node gets, and the graph that it is in: this one, or the nearest around it."""
        graph, key = self, key_of(node)
        while graph is not None and key not in graph.setters:
            graph = graph.outer
        return None if graph is None else (graph, graph.setters[key])

    def set_names(self) -> set[str]:
        """All that a node here can get."""
        around = set() if self.outer is None else self.outer.set_names()
        return around | {name for _, name in self.setters}

    def outside(self, entry: Mapping[str, Any]) -> Slot | None:
        """The instance's own slot for an input of this subgraph, if something is linked to it."""
        slot = next((slot for slot in self.host["inputs"] if slot["name"] == entry["name"]), None)
        return slot if slot is not None and slot["link"] is not None else None

    def promoted_value(self, entry: Mapping[str, Any]) -> Any:
        """The value of an input of this subgraph that is a widget; without one of its own that of the first widget
        inside; None for an input that is no widget."""
        if entry["name"] in self.promoted:
            return self.promoted[entry["name"]]
        source = self._widget_source(entry)
        if source is None:
            return None
        number, name = source
        if number in self.instances:
            inner = self.instances[number]
            return inner.promoted_value(next(e for e in inner.content["inputs"] if e["name"] == name))
        return self.widget_values(self.nodes[number]).get(name)

    def _widget_source(self, entry: Mapping[str, Any]) -> tuple[str, str] | None:
        """(node, widget) inside that an input of this subgraph shows outside, None if it is no widget."""
        for link in entry["linkIds"]:
            node, slot = self.targets.get(link, (None, None))
            if node is not None and self._is_widget(node, slot["name"]):
                return node["id"], slot["name"]
        return None

    def _is_widget(self, node: Node, name: str) -> bool:
        if node["id"] in self.instances:
            inner = self.instances[node["id"]]
            return any(e["name"] == name and inner._widget_source(e) is not None for e in inner.content["inputs"])
        info = self.place.object_info.get(node["type"])
        return info is not None and is_widget_input(info, name)

    def all_inputs(self, node: Node) -> list[Slot]:
        """A node's inputs; of an instance those too that the file leaves out because nothing is linked to them."""
        if node["id"] not in self.instances:
            return node["inputs"]
        saved = {slot["name"]: slot for slot in node["inputs"]}
        return [saved.get(entry["name"], entry) for entry in self.instances[node["id"]].content["inputs"]]


def key_of(node: Node) -> tuple[str, str]:
    """What a node that sets and one that gets have in common."""
    return pair(node["type"]), name_of(node)
