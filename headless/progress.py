"""Progress bars of a running prompt on a terminal: one for its nodes, one for the steps of the current node."""

from collections.abc import Mapping
from typing import IO, Any

from tqdm import tqdm

from ..common.printable import printable
from .client import Event


class Progress:
    """Shows the events of one prompt. Draws nothing if `file` (standard error by default) is no terminal, unless
    `disable` is False."""

    def __init__(self, prompt: Mapping[str, Any], file: IO[str] | None = None, disable: bool | None = None):
        self._prompt = prompt
        self._options = {"file": file, "disable": disable}
        self._nodes = tqdm(total=len(prompt), desc="waiting", unit="node", **self._options)
        self._steps: tqdm | None = None
        self._begun: set[str] = set()

    def __call__(self, event: Event) -> None:
        node = event.data.get("node")
        if event.type == "execution_cached":
            nodes = event.data.get("nodes")
            self._begin(*(nodes if isinstance(nodes, list) else ()))
        elif event.type == "executing" and isinstance(node, str):
            self._end_steps()
            self._nodes.set_description(self._title(node), refresh=False)
            self._begin(node)
        elif event.type == "progress":
            self._step(node, event.data.get("value"), event.data.get("max"))

    def close(self) -> None:
        self._end_steps()
        self._nodes.close()

    def _begin(self, *nodes: object) -> None:
        """Count finished nodes, without those of subgraphs that a node made while it ran."""
        self._begun.update(node for node in nodes if isinstance(node, str) and node in self._prompt)
        self._nodes.update(len(self._begun) - self._nodes.n)
        self._nodes.refresh()

    def _step(self, node: object, value: object, most: object) -> None:
        if not isinstance(value, (int, float)) or not isinstance(most, (int, float)):
            return
        if self._steps is None:
            self._steps = tqdm(total=most, desc=f"  {self._title(node)}", unit="step", leave=False, **self._options)
        self._steps.total = most
        self._steps.update(value - self._steps.n)

    def _end_steps(self) -> None:
        if self._steps is not None:
            self._steps.close()
        self._steps = None

    def _title(self, node: object) -> str:
        entry = self._prompt.get(node, {}) if isinstance(node, str) else {}
        return printable(str(entry.get("_meta", {}).get("title") or entry.get("class_type") or node))
