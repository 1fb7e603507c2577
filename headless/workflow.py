"""A workflow as the frontend saves it -> the prompt that the server's /prompt route takes, and overrides of inputs."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from ..printable import PrintableError
from .graph import Graph
from .widgets import all_specs

Prompt = dict[str, dict[str, Any]]


class WorkflowError(PrintableError, ValueError):
    """A workflow or an override that cannot become a prompt; the message names the node and the remedy."""


def to_prompt(workflow: Mapping[str, Any], object_info: Mapping[str, Any]) -> Prompt:
    """Converts a saved workflow (schema 0.4 or 1) with the server's /object_info; a prompt is returned as it is.

    Muted nodes vanish with the links from them, bypassed nodes pass their input of the same type on, reroutes and
    primitive nodes are followed, notes are left out, subgraphs expanded. Raises WorkflowError on a node that the server
    does not have.
    """
    if "nodes" not in workflow:
        for node, entry in workflow.items():
            check_known(node, entry["class_type"], object_info)
        return {node: {**entry, "inputs": dict(entry["inputs"])} for node, entry in workflow.items()}
    definitions = {graph["id"]: graph for graph in workflow.get("definitions", {}).get("subgraphs", [])}
    graph = Graph(workflow, definitions, object_info)
    return {number: entry_of(number, inner, node) for number, inner, node in graph.executed()}


def entry_of(number: str, graph: Graph, node: Mapping[str, Any]) -> dict[str, Any]:
    """One node's entry in the prompt."""
    check_known(number, node["type"], graph.object_info)
    title = node.get("title") or graph.object_info[node["type"]].get("display_name") or node["type"]
    return {"class_type": node["type"], "inputs": graph.inputs(node), "_meta": {"title": title}}


def check_known(node: Any, kind: str, object_info: Mapping[str, Any]) -> None:
    if kind not in object_info:
        raise WorkflowError(
            f"node {node} is a {kind}, unknown to this server: install its node pack{near(kind, object_info)}"
        )


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
