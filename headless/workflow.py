"""Converts a workflow as the frontend saves it to a prompt for the server's route /prompt, and overrides inputs."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from . import saved
from .dynamic_prompts import SEEDS, make_choices
from .everywhere import link_everywhere
from .graph import Graph, SharedData
from .replacements import fill_in
from .roles import EVERYWHERES, GROUP_NODE, NOTES, UNKNOWN, Roles
from .specs import all_specs
from .tracing import source
from .workflow_error import WorkflowError, called, near

Prompt = dict[str, dict[str, Any]]
SUBGRAPH = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
NODE = {"class_type", "inputs"}  # an entry of a prompt has both, a remark among them neither
BROWSER_ONLY = (*NOTES, *EVERYWHERES)
SHOWN = 200  # characters of a saved value in a note


@dataclass(frozen=True)
class Converted:
    """A prompt, and messages about it for the user. `choices`: messages on resolved choices, by node and input."""

    prompt: Prompt
    notes: list[str] = field(default_factory=list)
    choices: dict[tuple[str, str], str] = field(default_factory=dict)


def to_prompt(workflow: Mapping[str, Any], object_info: Mapping[str, Any]) -> Prompt:
    """The prompt of `convert`."""
    return convert(workflow, object_info).prompt


def convert(workflow: Mapping[str, Any], object_info: Mapping[str, Any], seed: int | None = None) -> Converted:
    """Convert a saved workflow (schema 0.4 or 1) by the server's /object_info. A prompt is returned as it is, without
    entries that are no nodes.

    Muted nodes and their links are dropped; bypassed nodes pass on an input of the same type; reroutes, primitives and
    set and get nodes are resolved; notes are dropped; subgraphs are expanded; links saved by cg-use-everywhere are
    added. Placeholders in file names are filled in, and choices in texts are made with `seed` (random by default).
    Raises WorkflowError for a node that the server does not have, and if there is nothing to run.
    """
    if "nodes" not in workflow:
        return Converted(entries_of(workflow, object_info))
    graph = open_graph(workflow, object_info)
    prompt = {number: entry_of(number, inner, node) for number, inner, node in graph.executed()}
    if not prompt:
        for node in (node for node in graph.content["nodes"] if graph.shared.roles.of(node) == UNKNOWN):
            check_known(node["id"], node["type"], object_info)
        raise WorkflowError(
            f"Of the {len(graph.nodes)} nodes of the workflow none is to run: they are muted, bypassed or notes. Open "
            "it in ComfyUI, switch on what is to run, and save it again."
        )
    check_order(prompt)
    fill_in(prompt, graph)
    choices = make_choices(prompt, object_info, random.randrange(SEEDS) if seed is None else seed)
    return Converted(prompt, graph.shared.notes, choices)


def open_graph(workflow: Mapping[str, Any], object_info: Mapping[str, Any]) -> Graph:
    """A saved workflow as a Graph, with cg-use-everywhere's links. Raises WorkflowError for a malformed one."""
    top, definitions = saved.graph(workflow), saved.definitions(workflow)
    graphs = [top, *definitions.values()]
    roles = Roles((node for graph in graphs for node in graph["nodes"]), object_info)
    for graph in graphs:
        link_everywhere(graph, roles, object_info)
    return Graph(top, SharedData(definitions, object_info, roles))


def entries_of(prompt: Mapping[str, Any], object_info: Mapping[str, Any]) -> Prompt:
    """The nodes of an API prompt, without other entries such as notes."""
    entries = {node: entry for node, entry in prompt.items() if isinstance(entry, Mapping) and NODE & entry.keys()}
    found = {}
    for node, entry in entries.items():
        kind = entry.get("class_type")
        if kind in BROWSER_ONLY and kind not in object_info:
            continue
        if not isinstance(kind, str) or not isinstance(entry.get("inputs"), Mapping):
            raise WorkflowError(f"node {node} has no class_type or no inputs: export the workflow for the API again.")
        check_known(node, kind, object_info)
        found[node] = {**entry, "inputs": dict(entry["inputs"])}
        if "_meta" in entry:
            found[node]["_meta"] = meta(entry["_meta"])
    return found


def meta(saved_meta: Any) -> dict[str, Any]:
    """A node's `_meta` in a prompt, without malformed values."""
    found = saved_meta if isinstance(saved_meta, Mapping) else {}
    return {key: value for key, value in found.items() if key != "title" or isinstance(value, str)}


def entry_of(number: str, graph: Graph, node: Mapping[str, Any]) -> dict[str, Any]:
    """A node's entry in the prompt."""
    info = graph.shared.object_info
    check_known(number, node["type"], info)
    title = node["title"] or info[node["type"]].get("display_name") or node["type"]
    inputs = graph.widget_values(node)
    for slot in node["inputs"]:
        fed = source(graph, slot)
        if fed is not None:
            inputs[slot["name"]] = fed
    left = graph.widgets(node).left
    if left:
        values = ", ".join(f"{value!r:.{SHOWN}}" for value in left)
        graph.shared.tell(f"{called(node, graph.path)} has values that it has no inputs for, not used: {values}")
    return {"class_type": node["type"], "inputs": inputs, "_meta": {"title": title}}


def check_known(node: Any, kind: str, object_info: Mapping[str, Any]) -> None:
    if kind in object_info:
        return
    if GROUP_NODE.match(kind):
        raise WorkflowError(
            f"node {node} is the group node {kind[9:]}, which is not expanded here: open the workflow in ComfyUI, "
            "which converts it to a subgraph, and save it again."
        )
    if SUBGRAPH.fullmatch(kind):
        raise WorkflowError(f"node {node} is a subgraph that this file does not contain. {saved.AGAIN}")
    raise WorkflowError(
        f"node {node} is a {kind}, unknown to this server: install its node pack{near(kind, object_info)}"
    )


def check_order(prompt: Prompt) -> None:
    """Raises WorkflowError for a cycle of nodes."""
    links = {node: [v[0] for v in entry["inputs"].values() if is_link(v, prompt)] for node, entry in prompt.items()}
    try:
        TopologicalSorter(links).prepare()
    except CycleError as error:
        ring = [f"{node} ({prompt[node]['class_type']})" for node in error.args[1][1:]]
        raise WorkflowError(f"nodes {', '.join(ring):.300} wait for each other: cut one of their links.") from error


def is_link(value: Any, prompt: Prompt) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in prompt


def override(prompt: Prompt, settings: Mapping[str, Any], object_info: Mapping[str, Any]) -> Prompt:
    """A copy of the prompt with inputs replaced. settings: "NODE.INPUT" -> value, NODE being a unique id, title or
    class. Raises WorkflowError if no node or several match, or the node has no such input."""
    changed = {node: {**entry, "inputs": dict(entry["inputs"])} for node, entry in prompt.items()}
    for key, value in settings.items():
        node, name = find_input(changed, key)
        check_input(key, changed[node], name, object_info)
        changed[node]["inputs"][name] = value
    return changed


def check_input(key: str, entry: Mapping[str, Any], name: str, object_info: Mapping[str, Any]) -> None:
    """Raises WorkflowError, which lists the inputs, if a node of the prompt has no such input."""
    known = {*entry["inputs"], *dict(all_specs(object_info[entry["class_type"]]))}
    if name not in known:
        found = ", ".join(sorted(known))
        raise WorkflowError(f"{key}: a {entry['class_type']} has no input {name!r}, only {found}{near(name, known)}")


def find_input(prompt: Prompt, key: str) -> tuple[str, str]:
    """(node id, input name) of a key NODE.INPUT; both titles and input names may contain dots."""
    for dot in (index for index, character in enumerate(key) if character == "."):
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


def names(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return entry["class_type"], entry.get("_meta", {}).get("title", "")
