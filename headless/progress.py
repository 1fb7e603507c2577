"""What a running prompt reports, as bars on a terminal: one over its nodes, one over the steps of the current node."""

from collections.abc import Mapping
from typing import IO, Any

from tqdm import tqdm

from .client import Event


class Progress:
    """Takes the events of one prompt. Draws nothing where `file` (standard error by default) is no terminal, unless
    `disable` is False."""

    def __init__(self, prompt: Mapping[str, Any], file: IO[str] | None = None, disable: bool | None = None):
        self._prompt = prompt
        self._options = {"file": file, "disable": disable}
        self._nodes = tqdm(total=len(prompt), desc="waiting", unit="node", **self._options)
        self._steps: tqdm | None = None
        self._begun: set[str] = set()

    def __call__(self, event: Event) -> None:
        if event.type == "execution_cached":
            self._begin(*event.data["nodes"])
        elif event.type == "executing" and event.data["node"] is not None:
            self._end_steps()
            self._nodes.set_description(self._title(event.data["node"]), refresh=False)
            self._begin(event.data["node"])
        elif event.type == "progress":
            self._step(event.data)

    def close(self) -> None:
        self._end_steps()
        self._nodes.close()

    def _begin(self, *nodes: str) -> None:
        """Nodes of a subgraph that a node made while it ran are not counted."""
        self._begun.update(node for node in nodes if node in self._prompt)
        self._nodes.update(len(self._begun) - self._nodes.n)
        self._nodes.refresh()

    def _step(self, data: Mapping[str, Any]) -> None:
        if self._steps is None:
            title = self._title(data.get("node"))
            self._steps = tqdm(total=data["max"], desc=f"  {title}", unit="step", leave=False, **self._options)
        self._steps.total = data["max"]
        self._steps.update(data["value"] - self._steps.n)

    def _end_steps(self) -> None:
        if self._steps is not None:
            self._steps.close()
        self._steps = None

    def _title(self, node: str | None) -> str:
        entry = self._prompt.get(node, {})
        return entry.get("_meta", {}).get("title") or entry.get("class_type") or str(node)
