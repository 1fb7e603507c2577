"""Finds what feeds an input, through reroutes, set and get nodes, bypassed nodes and subgraph boundaries."""

from dataclasses import dataclass
from typing import Any

from .graph import Graph, Node, Slot
from .roles import EVERYWHERE, FRONTEND, GET, NOTE, PASS, VALUE, name_of
from .saved import AGAIN, ALWAYS, BYPASS, NEVER
from .slots import INPUTS, bypass_input
from .widgets import value_for_prompt
from .workflow_error import WorkflowError, called, near


@dataclass(frozen=True)
class Found:
    """The result of a search: [node id, output slot], a widget's value, or None if nothing feeds the input."""

    value: Any = None


# a result, or the next step: the slot to look at, its graph, and the type that is wanted
Step = Found | tuple[Graph, Slot, Any]


def source(graph: Graph, slot: Slot) -> Any:
    """What feeds an input slot. Raises WorkflowError for a cycle of links and for a link or name without a source."""
    seen = set()
    at: Step = (graph, slot, slot["type"])
    while not isinstance(at, Found):
        graph, slot, wanted = at
        here = (graph.path, slot["link"])
        if here in seen:
            node = graph.targets[slot["link"]][0] if slot["link"] in graph.targets else graph.host
            raise WorkflowError(
                f"{called(node, graph.path)} is fed by itself, through nodes that only pass on. {AGAIN}"
            )
        seen.add(here)
        at = _before(graph, slot, wanted)
    return at.value


def _before(graph: Graph, slot: Slot, wanted: Any) -> Step:
    if slot["link"] not in graph.links:
        return Found()
    number, index = graph.links[slot["link"]]
    return _outside(graph, index) if number == INPUTS else _out_of(graph, graph.nodes[number], index, wanted)


def _outside(graph: Graph, index: int) -> Step:
    """What a subgraph's input number `index` gets: a link of the instance, or a value of its widget."""
    if graph.host is None or index >= len(graph.content["inputs"]):
        where = f"the subgraph {graph.content['name']}" if graph.host else "the workflow"
        raise WorkflowError(f"a link comes from input {index} of {where}, which has none of that number. {AGAIN}")
    entry = graph.content["inputs"][index]
    slot = graph.outside(entry)
    if slot is not None:
        return graph.outer, slot, slot["type"]
    value = graph.promoted_value(entry)
    return Found() if value is None else Found(value_for_prompt(value))


def _out_of(graph: Graph, node: Node, index: int, wanted: Any) -> Step:
    """What comes out of a node's output number `index`."""
    role = graph.shared.roles.of(node)
    if node["type"] in FRONTEND and role == VALUE and node["mode"] != ALWAYS and node["widgets_values"]:
        return Found(_first_value(graph, node))  # the frontend writes it into the widgets, muted or not
    if node["mode"] == NEVER or role in (NOTE, EVERYWHERE):
        return Found()
    if node["mode"] == BYPASS:
        return _around(graph, node, index, wanted)
    if node["id"] in graph.instances:
        return _leaving(graph.instances[node["id"]], index, wanted)
    if role == VALUE:
        return Found(_first_value(graph, node))
    if role == GET:
        return _set(graph, node, index, wanted)
    return _into(graph, node, index, wanted) if role == PASS else Found([f"{graph.path}{node['id']}", index])


def _around(graph: Graph, node: Node, index: int, wanted: Any) -> Step:
    """A bypassed node hands an input on, and what comes before it is to fit that input; one that gets a name has none,
    and gives nothing then, as in the browser."""
    if index >= len(node["outputs"]):
        raise WorkflowError(f"a link begins at output {index} of {called(node, graph.path)}, which has none. {AGAIN}")
    slot = bypass_input(graph.all_inputs(node), node["outputs"][index]["type"], index, wanted)
    if slot is None and graph.shared.roles.of(node) == GET:
        graph.shared.tell(f"{called(node, graph.path)} is bypassed: nodes after it get nothing, as in the browser")
    return Found() if slot is None else (graph, slot, slot["type"])


def _leaving(inner: Graph, index: int, wanted: Any) -> Step:
    """What feeds an output of a subgraph instance."""
    if index >= len(inner.content["outputs"]):
        name = called(inner.host, inner.outer.path)
        raise WorkflowError(f"a link begins at output {index} of {name}, which its subgraph does not have. {AGAIN}")
    links = inner.content["outputs"][index]["linkIds"]
    return (inner, {"link": links[0]}, wanted) if links else Found()


def _first_value(graph: Graph, node: Node) -> Any:
    shown = [value for (number, _), value in graph.proxied.items() if number == node["id"]]
    saved = node["widgets_values"]
    values = [*shown, *(saved.values() if isinstance(saved, dict) else saved)]
    if not values:
        raise WorkflowError(f"{called(node, graph.path)} has no value for what it feeds. {AGAIN}")
    return value_for_prompt(values[0])


def _set(graph: Graph, node: Node, index: int, wanted: Any) -> Step:
    """What feeds a name that a node gets, even if the node that sets it is bypassed."""
    if not name_of(node):
        raise WorkflowError(f"{called(node, graph.path)} gets no name: choose one in the browser, or remove the node.")
    found = graph.setter(node)
    if found is None:
        raise WorkflowError(
            f"{called(node, graph.path)} gets {name_of(node)!r:.80}, which no node around it sets: set it, or choose "
            f"another name in the browser{near(name_of(node), graph.set_names())}"
        )
    return _into(*found, index, wanted)


def _into(graph: Graph, node: Node, index: int, wanted: Any) -> Step:
    """What feeds the input of a node that passes it on."""
    if not node["inputs"]:
        raise WorkflowError(f"{called(node, graph.path)} has no input that it could pass on. {AGAIN}")
    return graph, node["inputs"][min(index, len(node["inputs"]) - 1)], wanted
