"""Nodes and links of a saved workflow, with everything that lives in the frontend only resolved away.

Subgraphs are expanded: a node inside one is called "57:28", 57 being the instance and 28 the node in its definition.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from .promotion import ITSELF, own_values, proxied_values
from .widgets import is_widget_input, value_for_prompt, widget_values

ALWAYS, NEVER, BYPASS = 0, 2, 4  # a node's `mode`
NOTES = ("Note", "MarkdownNote")
REROUTE = "Reroute"
PRIMITIVE = "PrimitiveNode"
VIRTUAL = (*NOTES, REROUTE, PRIMITIVE)  # these live in the frontend only
INPUTS = "-10"  # the node inside a subgraph that its inputs come from
ANY_TYPE = ("*", "", 0)

Node = Mapping[str, Any]
Slot = Mapping[str, Any]


class Graph:
    """The workflow itself, or one instance of a subgraph in it: `host` is then the instance's node in `outer`."""

    def __init__(
        self,
        content: Mapping[str, Any],
        definitions: Mapping[str, Mapping[str, Any]],
        object_info: Mapping[str, Any],
        outer: "Graph | None" = None,
        host: Node | None = None,
    ):
        self.content = content
        self.object_info = object_info
        self.outer = outer
        self.host = host
        self.path = "" if host is None else f"{outer.path}{host['id']}:"
        self.nodes = {str(node["id"]): node for node in content["nodes"]}
        # a link that begins nowhere is none
        self.links = {link: origin for link, origin in origins(content["links"]) if origin[0] in {*self.nodes, INPUTS}}
        self.targets = {slot.get("link"): (node, slot) for node in content["nodes"] for slot in node.get("inputs", [])}
        # what the host sets: inputs of the subgraph, and widgets of (node, name) inside
        self.promoted: dict[str, Any] = {}
        self.proxied: dict[tuple[str, str], Any] = {}
        self.instances = {
            number: Graph(definitions[node["type"]], definitions, object_info, self, node)
            for number, node in self.nodes.items()
            if node["type"] in definitions
        }
        if host is not None:
            self._take_host_values()

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
        """(id in the prompt, graph, node) of every node that the server is to run."""
        for number, node in self.nodes.items():
            if node["type"] in VIRTUAL or node.get("mode", ALWAYS) in (NEVER, BYPASS):
                continue
            if number in self.instances:
                yield from self.instances[number].executed()
            else:
                yield f"{self.path}{number}", self, node

    def inputs(self, node: Node) -> dict[str, Any]:
        """Input name -> what the prompt has for it: [node id, output slot] or a value."""
        found = self.widget_values(node)
        for slot in node.get("inputs", []):
            source = self.source(slot)
            if source is not None:
                found[slot["name"]] = source
        return found

    def widget_values(self, node: Node) -> dict[str, Any]:
        found = widget_values(node, self.object_info[node["type"]])
        set_outside = {name: value for (number, name), value in self.proxied.items() if number == str(node["id"])}
        found |= {name: value for name, value in set_outside.items() if name in found}
        return {name: value_for_prompt(value) for name, value in found.items()}

    def source(self, slot: Slot, wanted: Any = None) -> Any:
        """What feeds an input: [node id, output slot], a value, or None where nothing does any more.

        wanted: the type of the input that the search began at; a bypassed node is passed by it.
        """
        if slot.get("link") not in self.links:
            return None
        number, place = self.links[slot["link"]]
        wanted = slot["type"] if wanted is None else wanted
        return self._from_outside(place, wanted) if number == INPUTS else self._from(self.nodes[number], place, wanted)

    def _from(self, node: Node, place: int, wanted: Any) -> Any:
        """What comes out of a node's output number `place`."""
        number, mode = str(node["id"]), node.get("mode", ALWAYS)
        if mode == NEVER:
            return None
        if mode == BYPASS:
            passed_on = bypass_input(self._all_inputs(node), node["outputs"][place]["type"], place, wanted)
            return None if passed_on is None else self.source(passed_on)
        if number in self.instances:
            return self.instances[number].leaving(place, wanted)
        if node["type"] == PRIMITIVE:
            shown = (value for (source, _), value in self.proxied.items() if source == number)
            return value_for_prompt(next(shown, node["widgets_values"][0]))
        if node["type"] == REROUTE:
            return self.source(node["inputs"][0], wanted)
        return [f"{self.path}{number}", place]

    def leaving(self, place: int, wanted: Any) -> Any:
        """What comes out of this subgraph's output number `place`."""
        links = self.content["outputs"][place].get("linkIds") or ()
        return next((self.source({"link": link, "type": wanted}, wanted) for link in links), None)

    def _from_outside(self, place: int, wanted: Any) -> Any:
        """What this subgraph's input number `place` gets: a link of the instance, or a value of its widget."""
        entry = self.content["inputs"][place]
        slot = next((slot for slot in self.host.get("inputs", []) if slot["name"] == entry["name"]), {})
        if slot.get("link") is not None:
            return self.outer.source(slot, wanted)
        value = self.promoted_value(entry)
        return None if value is None else value_for_prompt(value)

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
        for link in entry.get("linkIds") or ():
            node, slot = self.targets.get(link, (None, None))
            if node is not None and self._is_widget(node, slot["name"]):
                return str(node["id"]), slot["name"]
        return None

    def _is_widget(self, node: Node, name: str) -> bool:
        number = str(node["id"])
        if number in self.instances:
            inner = self.instances[number]
            return any(e["name"] == name and inner._widget_source(e) is not None for e in inner.content["inputs"])
        return node["type"] in self.object_info and is_widget_input(self.object_info[node["type"]], name)

    def _all_inputs(self, node: Node) -> list[Slot]:
        """A node's inputs; of an instance those too that the file leaves out because nothing is linked to them."""
        slots = node.get("inputs", [])
        if str(node["id"]) not in self.instances:
            return slots
        saved = {slot["name"]: slot for slot in slots}
        return [saved.get(entry["name"], entry) for entry in self.instances[str(node["id"])].content["inputs"]]


def origins(links: list[Any]) -> Iterator[tuple[int, tuple[str, int]]]:
    """(link id, (origin node, origin slot)); a link is a list in schema 0.4 and a mapping in schema 1."""
    for link in links:
        if isinstance(link, list):
            yield link[0], (str(link[1]), link[2])
        else:
            yield link["id"], (str(link["origin_id"]), link["origin_slot"])


def bypass_input(slots: list[Slot], given: Any, place: int, wanted: Any) -> Slot | None:
    """The input that a bypassed node hands to its output number `place`, of type `given`, for an input of type
    `wanted`: that of the same place if its type fits, else the first of that very type, else the first that fits."""
    if wanted in ANY_TYPE:
        return next(iter(slots[place : place + 1] or slots), None)
    fitting = [slot for slot in slots if fits(slot["type"], given) and fits(slot["type"], wanted)]
    if place < len(slots) and slots[place] in fitting:
        return slots[place]
    return next((slot for slot in slots if slot["type"] == wanted), next(iter(fitting), None))


def fits(one: Any, other: Any) -> bool:
    """Whether the frontend links slots of these types; a type may be several with commas between them."""
    if one in ANY_TYPE or other in ANY_TYPE:
        return True
    return bool(kinds(one) & kinds(other))


def kinds(type_name: Any) -> set[str]:
    return set(str(type_name).lower().split(","))
