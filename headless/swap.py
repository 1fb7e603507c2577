"""x2v-quant swap: replaces ComfyUI's loaders in a workflow by ours where possible."""

import argparse
import copy
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..writing import check_path, whole_file
from .reading import read_workflow
from .saved import check, is_pair
from .server import PACK_NAME
from .stand_ins import NAMES, OTHERS, STAND_INS, StandIn
from .workflow import WorkflowError

PROXIES = "proxyWidgets"
Json = dict[str, Any]


@dataclass(frozen=True)
class Loader:
    """A loader in a workflow. `graph`: its subgraph, "" outside. `now`: our class, or "" if it is not replaced, with
    the reason in `why`."""

    node: str
    graph: str
    was: str
    file: str
    now: str = ""
    why: str = ""


def swap(workflow: Mapping[str, Any], files: Mapping[str, str]) -> tuple[Json, list[Loader]]:
    """(a changed copy, its loaders) of a saved workflow (schema 0.4 or 1) or an API prompt.

    Keeps links, titles, positions, model downloads, subgraphs and their promoted widgets. files: name of a file -> the
    one that replaces it; the download of the old one is removed.
    """
    changed = copy.deepcopy(dict(workflow))
    if "nodes" not in changed:
        return changed, [swap_entry(number, entry, files) for number, entry in changed.items() if is_loader(entry)]
    check(changed)
    subgraphs = (changed.get("definitions") or {}).get("subgraphs") or []
    loaders = []
    for graph in (changed, *subgraphs):
        found = [swap_node(node, graph, promoting(graph, changed, subgraphs)) for node in loaders_of(graph)]
        loaders += found
        rename_promoted(graph, changed, subgraphs, [loader for loader in found if loader.now])
    for graph in (changed, *subgraphs):
        for node in graph["nodes"]:
            replace_files(node, files)
    return changed, loaders


def is_loader(entry: Mapping[str, Any]) -> bool:
    kind = entry.get("class_type") if isinstance(entry, dict) and isinstance(entry.get("inputs"), dict) else None
    return isinstance(kind, str) and (kind in STAND_INS or kind in OTHERS)


def loaders_of(graph: Json) -> Iterator[Json]:
    return (node for node in graph["nodes"] if node["type"] in STAND_INS or node["type"] in OTHERS)


def count_ours(workflow: Mapping[str, Any]) -> int:
    """How many of a workflow's nodes are those that stand in for others."""
    ours = {stand_in.ours for stand_in in STAND_INS.values()}
    graphs = (workflow, *((workflow.get("definitions") or {}).get("subgraphs") or []))
    kinds = [node["type"] for graph in graphs for node in graph.get("nodes", [])]
    kinds += [entry.get("class_type") for entry in workflow.values() if isinstance(entry, dict)]
    return sum(isinstance(kind, str) and kind in ours for kind in kinds)


def swap_entry(number: str, entry: Json, files: Mapping[str, str]) -> Loader:
    """Change one node of an API prompt."""
    was, values = entry["class_type"], entry["inputs"]
    if was in OTHERS:
        return Loader(number, "", was, "", why=OTHERS[was])
    stand_in = STAND_INS[was]
    file = values.get(stand_in.file)
    linked = [name for name in stand_in.dropped if isinstance(values.get(name), list)]
    why = set_elsewhere(linked) or stand_in.why_not(values)
    if why:
        return Loader(number, "", was, str(file), why=why)
    entry["class_type"] = stand_in.ours
    named = files.get(file, file) if isinstance(file, str) else file
    entry["inputs"] = {stand_in.renamed[stand_in.file]: named, **stand_in.added}
    return Loader(number, "", was, str(file), stand_in.ours)


def swap_node(node: Json, graph: Json, promoted: set[tuple[str, str]]) -> Loader:
    """Change one node of a saved graph. promoted: (node, widget) pairs that instances of the graph show."""
    where = {"node": str(node["id"]), "graph": graph.get("name", ""), "was": node["type"]}
    saved = node.get("widgets_values") or []
    if node["type"] in OTHERS:
        return Loader(**where, file="", why=OTHERS[node["type"]])
    stand_in = STAND_INS[node["type"]]
    values = dict(saved) if isinstance(saved, Mapping) else dict(zip(stand_in.widgets, saved, strict=False))
    slots = node.get("inputs", [])
    linked = [slot["name"] for slot in slots if slot["name"] in stand_in.dropped and slot.get("link") is not None]
    linked += [name for name in stand_in.dropped if (str(node["id"]), name) in promoted]
    why = set_elsewhere(linked) or stand_in.why_not(values)
    if why:
        return Loader(**where, file=str(values.get(stand_in.file)), why=why)
    node["type"] = stand_in.ours
    node["widgets_values"] = [*(values.get(name) for name in stand_in.renamed), *stand_in.added.values()]
    node["inputs"] = [renamed_slot(slot, stand_in) for slot in slots if slot["name"] not in stand_in.dropped]
    number_targets(node, graph)
    properties = node["properties"] = node.get("properties") or {}
    properties.pop("ver", None)  # of ComfyUI
    properties |= {"Node name for S&R": stand_in.ours, "cnr_id": PACK_NAME}
    return Loader(**where, file=str(values.get(stand_in.file)), now=stand_in.ours)


def set_elsewhere(names: list[str]) -> str:
    return f"another node sets its {names[0]}, which our loader does not have" if names else ""


def renamed_slot(slot: Json, stand_in: StandIn) -> Json:
    name = stand_in.renamed.get(slot["name"], slot["name"])
    own = {key: value for key, value in slot.items() if key != "localized_name"} | {"name": name}
    return own | {"widget": {**own["widget"], "name": name}} if own.get("widget") else own


def number_targets(node: Json, graph: Json) -> None:
    """Update the input index in links that end at this node."""
    indices = {slot.get("link"): number for number, slot in enumerate(node["inputs"])}
    for link in graph.get("links") or []:
        if isinstance(link, list):
            link[4] = indices.get(link[0], link[4])
        else:
            link["target_slot"] = indices.get(link["id"], link.get("target_slot"))


def hosts_of(graph: Json, workflow: Json, subgraphs: list[Json]) -> list[Json]:
    """The instance nodes of a subgraph."""
    return [node for outer in (workflow, *subgraphs) for node in outer["nodes"] if node["type"] == graph.get("id")]


def promoting(graph: Json, workflow: Json, subgraphs: list[Json]) -> set[tuple[str, str]]:
    hosts = hosts_of(graph, workflow, subgraphs)
    return {(str(entry[0]), entry[1]) for host in hosts for entry in shown_by(host)}


def shown_by(host: Json) -> list[Any]:
    """The widgets inside that an instance shows, as ("node", "name"); some frontend releases saved them as text."""
    properties = host.get("properties") or {}
    if isinstance(properties.get(PROXIES), str):
        properties[PROXIES] = json.loads(properties[PROXIES])
    return properties.get(PROXIES) or []


def rename_promoted(graph: Json, workflow: Json, subgraphs: list[Json], swapped: list[Loader]) -> None:
    """Rename a replaced loader's widgets where they are shown elsewhere: on subgraph instances and in the app view."""
    names = {
        (loader.node, theirs): ours for loader in swapped for theirs, ours in STAND_INS[loader.was].renamed.items()
    }
    shown = [shown_by(host) for host in hosts_of(graph, workflow, subgraphs)]
    view = (workflow.get("extra") or {}).get("linearData")
    if graph is workflow and isinstance(view, dict) and isinstance(view.get("inputs"), list):
        shown.append([entry for entry in view["inputs"] if is_pair(entry)])
    for entries in shown:
        for entry in entries:
            entry[1] = names.get((str(entry[0]), entry[1]), entry[1])


def replace_files(node: Json, files: Mapping[str, str]) -> None:
    saved = node.get("widgets_values")
    if isinstance(saved, list):
        node["widgets_values"] = [files.get(value, value) if isinstance(value, str) else value for value in saved]
    properties = node.get("properties") or {}
    if isinstance(properties.get("models"), list):
        properties["models"] = [model for model in properties["models"] if not names_one(model, files)]


def names_one(model: Any, files: Mapping[str, str]) -> bool:
    return isinstance(model, dict) and isinstance(model.get("name"), str) and model["name"] in files


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "workflow",
        type=Path,
        help="a workflow that ComfyUI saved or exported (API), as .json; or a picture or video that was made by one",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="the changed copy; default: WORKFLOW_quantized.json beside the workflow",
    )
    parser.add_argument(
        "--file",
        action="append",
        default=[],
        dest="files",
        metavar="OLD=NEW",
        help="also replace a model's file, e.g. wan_fp16.safetensors=wan_int8.safetensors; default: files stay. May be "
        "given several times",
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """{workflow, output, loaders, ours: how many of our loaders were there before}.

    Raises WorkflowError for a file without a workflow, and for an output that exists or cannot be written.
    """
    output = options.output or options.workflow.with_name(f"{options.workflow.stem}_quantized.json")
    check_path(output)
    if os.path.lexists(output):
        raise WorkflowError(f"{output} is there already: name another file with -o, or remove it.")
    bad = [text for text in options.files if "=" not in text]
    if bad:
        raise WorkflowError(f"{bad[0]!r} is not OLD=NEW (OLD is a file that the workflow names)")
    changed, loaders = swap(read_workflow(options.workflow).to_edit, dict(text.split("=", 1) for text in options.files))
    # half of a pair, which UTF-8 has no bytes for, is what JSON writes as \\ud800 too
    text = json.dumps(changed, ensure_ascii=False, indent=2).encode(errors="backslashreplace")
    with whole_file(output) as file:
        file.write(text)
    return {
        "workflow": str(options.workflow),
        "output": str(output),
        "loaders": [asdict(loader) for loader in loaders],
        "ours": count_ours(changed) - sum(bool(loader.now) for loader in loaders),
    }


def lines(report: dict[str, Any]) -> list[str]:
    """The report as text: what was replaced and where it is saved, then each loader."""
    loaders = report["loaders"]
    replaced = sum(bool(loader["now"]) for loader in loaders)
    if replaced:
        first = f"{replaced} of {len(loaders)} loaders replaced. Saved {report['output']}."
    else:
        cause = "no loader of models in this workflow"
        if loaders:
            cause = "none of these loaders has one of this pack's that fits"
        elif report["ours"]:
            cause = "already this pack's loaders"
        first = f"Nothing to replace: {cause}. Saved {report['output']} all the same."
    shown = [first, *map(_line, loaders)]
    if replaced:
        shown.append("Next: open it in ComfyUI and pick a quantized file in each new loader.")
        shown.append("No quantized file yet? x2v-quant convert makes one.")
    return shown


def _line(loader: Mapping[str, str]) -> str:
    where = f"node {loader['node']}" + (f" in {loader['graph']}" if loader["graph"] else "")
    file = f" ({loader['file']})" if loader["file"] else ""
    done = f"is now {NAMES[loader['now']]}" if loader["now"] else f"stays: {loader['why']}"
    return f"- {where}, {NAMES[loader['was']]}{file} {done}"


def ok(report: dict[str, Any]) -> bool:
    return any(loader["now"] for loader in report["loaders"])
