"""Counts the graphs that torch.compile has compiled for a model, with the reasons for recompilations."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch._dynamo.backends.registry import lookup_backend
from torch._dynamo.utils import guard_failures

# most reasons that are shown, and most characters of each
TOLD, LONGEST = 3, 160


class CountingBackend:
    """A torch.compile backend that counts the graphs it compiles. One object per name in a process: dynamo does not
    reuse code that was compiled by another backend object."""

    def __init__(self, name: str):
        self.name, self.graphs = name, 0
        self._compile = lookup_backend(name)

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable:
        self.graphs += 1
        return self._compile(graph, inputs)


@functools.cache
def counting(name: str) -> CountingBackend:
    """The one CountingBackend of that name. Raises torch._dynamo.exc.InvalidBackend for an unknown name."""
    return CountingBackend(name)


def failures_told() -> list[str]:
    """Dynamo's reason for each graph that did not fit a call, since the process began or dynamo was reset."""
    return [reason for reasons in guard_failures.values() for reason in reasons]


@dataclass
class Compilations:
    """The compilations while one MODEL and its clones were sampled. `blocks`: number of compiled modules. `graphs`:
    total. `calls`: calls of the model. `again`: call -> number of graphs compiled in it, for calls after the first
    that compiled any; `reasons`: dynamo's for those. `given_up`: a graph did not fit and dynamo compiled no new one."""

    blocks: int
    graphs: int = 0
    calls: int = 0
    again: dict[int, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    given_up: bool = False

    def add(self, graphs: int, failures: list[str]) -> None:
        """Count one call of the model. graphs: compiled in it. failures: what it added to `failures_told`."""
        self.calls += 1
        if not graphs:
            self.given_up = self.given_up or bool(failures)
            return
        if self.graphs:
            self.again[self.calls] = graphs
            self.reasons += map(_short, failures)
        self.graphs += graphs

    def text(self) -> str:
        """One line: how many graphs, and which calls recompiled, with reasons."""
        if not self.calls:
            return f"{self.blocks} blocks will be compiled at the first step"
        start = f"{self.graphs} graphs for {self.blocks} blocks in {self.calls} calls of the model"
        if self.given_up:
            return f"{start}; some run uncompiled: dynamo has compiled their code too often already, restart ComfyUI"
        if not self.graphs:
            return f"{start}: those of models that were loaded before are used"
        if not self.again:
            return f"{start}, none compiled again"
        text = f"{start}, {sum(self.again.values())} of them later, in call {', '.join(map(str, self.again))}"
        reasons = list(dict.fromkeys(self.reasons))[:TOLD]
        return f"{text}: {'; '.join(reasons)}" if reasons else text


def _short(reason: str) -> str:
    """One of dynamo's reasons without its number and the source code in it."""
    number, _, rest = reason.partition(": ")
    text = rest if number.replace("/", "").isdigit() else reason
    return text.split("  #")[0].strip()[:LONGEST]
