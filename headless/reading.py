"""Reads the workflow in a file: JSON of a graph, prompt, request or answer, or the metadata of a picture or video."""

import json
import stat
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common import limits
from .carried import MEDIA, carried, medium
from .saved import check
from .workflow_error import WorkflowError

# keys of a graph or a prompt in a request to /prompt, in an entry of /history, in a file's metadata and in requests of
# services that run ComfyUI
WRAPPERS = ("prompt", "workflow", "output", "extra_data", "extra_pnginfo", "comment", "input", "workflow_api")
QUEUES = ("queue_running", "queue_pending")  # of /queue: lists of what an entry of /history has as its prompt
GRAPH_KEYS = {"links", "version", "last_node_id", "state"}  # beside the nodes; a file by hand may lack some
Json = dict[str, Any]


@dataclass(frozen=True)
class Saved:
    """A workflow read from a file. `graph`: as the frontend saves it. `prompt`: as the server takes it. Either may be
    None."""

    graph: Json | None
    prompt: Json | None

    @property
    def to_run(self) -> Json:
        """The prompt if there is one, since that is what ran; else the graph."""
        return self.graph if self.prompt is None else self.prompt

    @property
    def to_edit(self) -> Json:
        return self.prompt if self.graph is None else self.graph


def read_workflow(path: Path) -> Saved:
    """Raises WorkflowError if the file is missing, has no workflow or has a damaged graph."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise WorkflowError(f"{path} is no file. Check the path.")
        kind = medium(path)
        found = carried(path, kind) if kind else parsed(read_bytes(path), str(path))
    except OSError as error:
        raise WorkflowError(f"{path} cannot be read: {error.strerror or error}. Check the path.") from error
    saved = unwrapped(found, str(path))
    if saved is None and kind:
        raise WorkflowError(
            f"{path} is a {MEDIA[kind]} without a workflow in it: it was saved without one, or a program that changed "
            "it has dropped it. Take the original, or the workflow's own file."
        )
    if saved is None:
        raise WorkflowError(f"{path} has no workflow: save it in ComfyUI, or export it for the API.")
    if saved.graph is not None:
        check(saved.graph)
    return saved


def read_bytes(path: Path) -> bytes:
    if path.stat().st_size > limits.JSON_BYTES:
        raise WorkflowError(
            f"{path} is larger than {limits.JSON_BYTES // 10**6} MB, which no workflow is. Name the file of one."
        )
    return path.read_bytes()


def parsed(content: bytes | str, name: str) -> Any:
    """Parse JSON in UTF-8, UTF-16 or UTF-32, with or without byte order mark. NaN and infinity become None, as in the
    frontend."""
    try:
        found = json.loads(content, parse_constant=lambda word: None)
    except RecursionError:
        found = too_deep(name)
    except ValueError as error:
        if content.lstrip()[:1] in ("<", b"<"):
            raise WorkflowError(f"{name} is a web page: download the file that it shows, or links to.") from error
        raise WorkflowError(f"{name} is not JSON ({error}). Save the workflow again.") from error
    if depth(found) > limits.JSON_DEPTH:
        too_deep(name)
    return found


def too_deep(name: str) -> None:
    raise WorkflowError(
        f"{name} has more than {limits.JSON_DEPTH} lists and objects inside each other, which no workflow has. Name "
        "the file of one."
    )


def depth(value: Any) -> int:
    """The depth of nested lists and objects, computed without recursion."""
    found, level = 0, [value]
    while level := [inner for inner in level if isinstance(inner, dict | list)]:
        found += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return found


def unwrapped(found: Any, name: str) -> Saved | None:
    """The first graph and the first prompt in what a file holds."""
    graph = prompt = None
    for inner in layers(found, name):
        if graph is None and is_graph(inner):
            graph = inner
        if prompt is None and is_prompt(inner):
            prompt = inner
    return Saved(graph, prompt) if graph is not None or prompt is not None else None


def layers(found: Any, name: str) -> Iterator[Json]:
    """Yields the content of a file, then the contents of its known wrapper keys."""
    waiting = deque([found])
    while waiting:
        inner = waiting.popleft()
        if isinstance(inner, str):
            inner = in_text(inner, name)
        if isinstance(inner, list):  # as /history has a prompt: its number, its id, the prompt, what was sent along
            waiting += [one for one in inner if isinstance(one, dict)]
        if isinstance(inner, dict):
            yield inner
            runs = [one for one in inner.values() if isinstance(one, dict) and isinstance(one.get("prompt"), list)]
            runs += [one for key in QUEUES if isinstance(inner.get(key), list) for one in inner[key]]
            if len(runs) > 1:
                raise WorkflowError(f"{name} has {len(runs)} runs: keep one of them, or save its workflow.")
            waiting += [inner[key] for key in WRAPPERS if isinstance(inner.get(key), dict | list | str)] + runs


def in_text(text: str, name: str) -> Any:
    """Parse a metadata text, which may be a workflow or anything else."""
    try:
        return parsed(text, name)
    except WorkflowError:
        return None


def is_graph(found: Json) -> bool:
    """Whether it has the keys of a saved graph."""
    nodes = found.get("nodes")
    if not isinstance(nodes, list) or not GRAPH_KEYS & found.keys():
        return False
    return not nodes or any(holds(node, {"id": (int, str), "type": str}) for node in nodes)


def is_prompt(found: Json) -> bool:
    """Whether it has entries of an API prompt, possibly among others."""
    return any(holds(entry, {"class_type": str, "inputs": dict}) for entry in found.values())


def holds(entry: Any, kinds: Mapping[str, Any]) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), kind) for key, kind in kinds.items())
