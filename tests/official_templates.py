"""ComfyUI's official workflow templates, as the installed package has them."""

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PACKAGE = "comfyui_workflow_templates_json"
LOADERS = ("UNETLoader", "CLIPLoader", "CLIPVisionLoader")


def folder() -> Path | None:
    """None where the package is not installed."""
    spec = find_spec(PACKAGE)
    return Path(spec.submodule_search_locations[0]) / "templates" if spec else None


def read(name: str) -> dict[str, Any]:
    return json.loads((folder() / f"{name}.json").read_text(encoding="utf-8"))


def all_nodes(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nodes outside and inside of its subgraphs."""
    yield from workflow["nodes"]
    for graph in workflow.get("definitions", {}).get("subgraphs", []):
        yield from graph["nodes"]


def with_loaders() -> dict[str, dict[str, Any]]:
    """Name -> workflow, of those that have one of the loaders."""
    found = {}
    for file in sorted(folder().glob("*.json")):
        workflow = json.loads(file.read_text(encoding="utf-8"))
        if "nodes" not in workflow:  # a list of templates
            continue
        if any(node["type"] in LOADERS for node in all_nodes(workflow)):
            found[file.stem] = workflow
    return found
