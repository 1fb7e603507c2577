"""The nodes of a saved workflow with subgraphs expanded: which of them the server runs, and their widgets' values.

The id of a node inside a subgraph is "57:28": 57 is the instance, 28 the node in the subgraph's definition.
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
class SharedData:
    """Data shared by the graphs of one file. `definitions`: subgraphs by id. `notes`: messages for the user. `nodes`:
    number of nodes, counted in each instance."""

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
    """The workflow itself, or an instance of a subgraph, whose node in the graph `outer` is `host`. content: a graph
    from saved.py. Raises WorkflowError for a subgraph inside itself."""

    def __init__(
        self, content: Mapping[str, Any], shared: SharedData, outer: "Graph | None" = None, host: Node | None = None
    ):
        self.content = content
        self.shared = shared
        self.outer = outer
        self.host = host
        self.path = "" if host is None else f"{outer.path}{host['id']}:"
        self.kinds = () if host is None else (*outer.kinds, host["type"])  # of the instances around it
        self._check_nesting()
        self.nodes = {node["id"]: node for node in content["nodes"]}
        # a link without an origin is ignored
        self.links = {link: origin for link, origin in content["links"].items() if origin[0] in {*self.nodes, INPUTS}}
        self.targets = {slot["link"]: (node, slot) for node in content["nodes"] for slot in node["inputs"]}
        self.setters = {key_of(node): node for node in reversed(content["nodes"]) if sets(node)}
        # values set on the host: inputs of the subgraph, and widgets inside by (node, name)
        self.promoted: dict[str, Any] = {}
        self.proxied: dict[tuple[str, str], Any] = {}
        self._widgets: dict[str, Widgets] = {}
        self.instances = {
            number: Graph(shared.definitions[node["type"]], shared, self, node)
            for number, node in self.nodes.items()
            if node["type"] in shared.definitions
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
        self.shared.count(len(self.content["nodes"]))

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
        """Yields (id in the prompt, graph, node) for every node of the prompt, types that the server lacks included."""
        for number, node in self.nodes.items():
            if node["mode"] in (NEVER, BYPASS):
                continue
            if number in self.instances:
                yield from self.instances[number].executed()
            elif self.is_run(node):
                yield f"{self.path}{number}", self, node

    def is_run(self, node: Node) -> bool:
        role = self.shared.roles.of(node)
        if role == UNKNOWN and is_decoration(node, self):
            self.shared.tell(f"{called(node, self.path)} is left out: it is unknown here and no node needs it")
            return False
        return role in (RUN, UNKNOWN)

    def widgets(self, node: Node) -> Widgets:
        """A node's widgets as saved, without values that an instance of the subgraph sets."""
        number = node["id"]
        if number not in self._widgets:
            self._widgets[number] = read_widgets(node, self.shared.object_info[node["type"]])
        return self._widgets[number]

    def widget_values(self, node: Node) -> dict[str, Any]:
        found = dict(self.widgets(node).found)
        set_outside = {name: value for (number, name), value in self.proxied.items() if number == node["id"]}
        found |= {name: value for name, value in set_outside.items() if name in found}
        return {name: value_for_prompt(value) for name, value in found.items()}

    def setter(self, node: Node) -> "tuple[Graph, Node] | None":
        """(node, graph) that sets the name which `node` gets: in this graph, else in the nearest outer one."""
        graph, key = self, key_of(node)
        while graph is not None and key not in graph.setters:
            graph = graph.outer
        return None if graph is None else (graph, graph.setters[key])

    def set_names(self) -> set[str]:
        """All names that a node in this graph can get."""
        around = set() if self.outer is None else self.outer.set_names()
        return around | {name for _, name in self.setters}

    def outside(self, entry: Mapping[str, Any]) -> Slot | None:
        """The instance's input slot for an input of this subgraph, if it has a link."""
        slot = next((slot for slot in self.host["inputs"] if slot["name"] == entry["name"]), None)
        return slot if slot is not None and slot["link"] is not None else None

    def promoted_value(self, entry: Mapping[str, Any]) -> Any:
        """The value of a subgraph input that is a widget: the instance's own, else that of the first widget inside;
        None for an input that is no widget."""
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
        """(node, widget) inside for a subgraph input that is a widget, None for other inputs."""
        for link in entry["linkIds"]:
            node, slot = self.targets.get(link, (None, None))
            if node is not None and self._is_widget(node, slot["name"]):
                return node["id"], slot["name"]
        return None

    def _is_widget(self, node: Node, name: str) -> bool:
        if node["id"] in self.instances:
            inner = self.instances[node["id"]]
            return any(e["name"] == name and inner._widget_source(e) is not None for e in inner.content["inputs"])
        info = self.shared.object_info.get(node["type"])
        return info is not None and is_widget_input(info, name)

    def all_inputs(self, node: Node) -> list[Slot]:
        """A node's inputs; for an instance also those without a link, which the file omits."""
        if node["id"] not in self.instances:
            return node["inputs"]
        saved = {slot["name"]: slot for slot in node["inputs"]}
        return [saved.get(entry["name"], entry) for entry in self.instances[node["id"]].content["inputs"]]


def key_of(node: Node) -> tuple[str, str]:
    """The key that a node which sets a name shares with those that get it."""
    return pair(node["type"]), name_of(node)
