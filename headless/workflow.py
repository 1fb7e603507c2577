"""A workflow as the frontend saves it -> the prompt that the server's /prompt route takes, and overrides of inputs."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from .widgets import all_specs, widget_values

Prompt = dict[str, dict[str, Any]]

ALWAYS, NEVER, BYPASS = 0, 2, 4  # a node's `mode`
NOTES = ("Note", "MarkdownNote")
REROUTE = "Reroute"
PRIMITIVE = "PrimitiveNode"
VIRTUAL = (*NOTES, REROUTE, PRIMITIVE)  # these live in the frontend only
ANY_TYPE = "*"


class WorkflowError(ValueError):
    """A workflow or an override that cannot become a prompt; the message names the node and the remedy."""


def to_prompt(workflow: Mapping[str, Any], object_info: Mapping[str, Any]) -> Prompt:
    """Converts a saved workflow (schema 0.4 or 1) with the server's /object_info; a prompt is returned as it is.

    Muted nodes vanish with the links from them, bypassed nodes pass their input of the same type on, reroutes and
    primitive nodes are followed, notes are left out. Raises WorkflowError on a node that the server does not have.
    """
    if "nodes" not in workflow:
        for node, entry in workflow.items():
            check_known(node, entry["class_type"], object_info)
        return {node: {**entry, "inputs": dict(entry["inputs"])} for node, entry in workflow.items()}
    graph = Graph(workflow)
    return {
        str(node["id"]): convert(node, graph, object_info)
        for node in graph.nodes.values()
        if node["type"] not in VIRTUAL and node.get("mode", ALWAYS) not in (NEVER, BYPASS)
    }


def convert(node: Mapping[str, Any], graph: "Graph", object_info: Mapping[str, Any]) -> dict[str, Any]:
    """One node's entry in the prompt."""
    if node["type"] in graph.subgraphs:
        raise WorkflowError(f"node {node['id']} is a subgraph: unpack it in the frontend and save again")
    check_known(node["id"], node["type"], object_info)
    info = object_info[node["type"]]
    inputs = widget_values(node, info)
    for slot in node.get("inputs", []):
        if slot.get("link") is not None:
            found = graph.source(slot["link"])
            if found is not None:
                inputs[slot["name"]] = found
    title = node.get("title") or info.get("display_name") or node["type"]
    return {"class_type": node["type"], "inputs": inputs, "_meta": {"title": title}}


def check_known(node: Any, kind: str, object_info: Mapping[str, Any]) -> None:
    if kind not in object_info:
        raise WorkflowError(
            f"node {node} is a {kind}, unknown to this server: install its node pack{near(kind, object_info)}"
        )


class Graph:
    """Nodes and links of a saved workflow, with the frontend's own nodes resolved away."""

    def __init__(self, workflow: Mapping[str, Any]):
        self.nodes = {str(node["id"]): node for node in workflow["nodes"]}
        self.links = dict(origins(workflow["links"]))
        self.subgraphs = {graph["id"] for graph in workflow.get("definitions", {}).get("subgraphs", [])}

    def source(self, link: int) -> Any:
        """What feeds a link: [node id, output slot], a primitive node's value, or None where nothing does any more."""
        node_id, slot = self.links[link]
        node = self.nodes[node_id]
        mode = node.get("mode", ALWAYS)
        if mode == NEVER:
            return None
        if node["type"] == PRIMITIVE:
            return node["widgets_values"][0]
        if node["type"] == REROUTE:
            return self._through(node["inputs"][0])
        if mode == BYPASS:
            passed_on = bypass_input(node, slot)
            return self._through(passed_on) if passed_on else None
        return [node_id, slot]

    def _through(self, slot: Mapping[str, Any]) -> Any:
        return None if slot.get("link") is None else self.source(slot["link"])


def origins(links: list[Any]) -> Iterator[tuple[int, tuple[str, int]]]:
    """(link id, (origin node, origin slot)); a link is a list in schema 0.4 and a mapping in schema 1."""
    for link in links:
        if isinstance(link, list):
            yield link[0], (str(link[1]), link[2])
        else:
            yield link["id"], (str(link["origin_id"]), link["origin_slot"])


def bypass_input(node: Mapping[str, Any], slot: int) -> Mapping[str, Any] | None:
    """The input a bypassed node hands to its output `slot`: that of the same place if its type fits, else the first."""
    wanted = node["outputs"][slot]["type"]
    inputs = node.get("inputs", [])
    fitting = [entry for entry in inputs if wanted == ANY_TYPE or entry["type"] in (wanted, ANY_TYPE)]
    if slot < len(inputs) and inputs[slot] in fitting:
        return inputs[slot]
    return fitting[0] if fitting else None


def override(prompt: Prompt, settings: Mapping[str, Any], object_info: Mapping[str, Any]) -> Prompt:
    """A copy of the prompt with inputs replaced. A key is NODE.INPUT, NODE an id, a title or a class that is unique.

    Raises WorkflowError when no node or several fit, or the node has no such input.
    """
    changed = {node: {**entry, "inputs": dict(entry["inputs"])} for node, entry in prompt.items()}
    for key, value in settings.items():
        node, name = find_input(changed, key)
        check_input(key, changed[node], name, object_info)
        changed[node]["inputs"][name] = value
    return changed


def check_input(key: str, entry: Mapping[str, Any], name: str, object_info: Mapping[str, Any]) -> None:
    """Raises WorkflowError, with the names there are, if a node of the prompt has no such input."""
    known = {*entry["inputs"], *dict(all_specs(object_info[entry["class_type"]]))}
    if name not in known:
        found = ", ".join(sorted(known))
        raise WorkflowError(f"{key}: a {entry['class_type']} has no input {name!r}, only {found}{near(name, known)}")


def find_input(prompt: Prompt, key: str) -> tuple[str, str]:
    """(node id, input name) of NODE.INPUT; both titles and input names may hold dots."""
    for dot in (place for place, character in enumerate(key) if character == "."):
        name = key[:dot]
        found = [name] if name in prompt else [node for node, entry in prompt.items() if name in names(entry)]
        if len(found) == 1:
            return found[0], key[dot + 1 :]
        if found:
            raise WorkflowError(f"{key}: nodes {', '.join(found)} are all called {name!r}; use an id or a title")
    known = {word for entry in prompt.values() for word in names(entry) if word}
    raise WorkflowError(
        f"{key}: no node of this workflow has that id, title or class{near(key.rpartition('.')[0], known)}"
    )


def near(name: str, known: Iterable[str]) -> str:
    """A question that ends a refusal: what `name` may have meant."""
    by_case = {word.lower(): word for word in sorted(known)}
    found = [by_case[word] for word in get_close_matches(name.lower(), by_case, cutoff=0.7)]
    return f". Did you mean {' or '.join(map(repr, found))}?" if found else ""


def names(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return entry["class_type"], entry.get("_meta", {}).get("title", "")
