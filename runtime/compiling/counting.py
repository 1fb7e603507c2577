"""How many graphs were compiled for a model and why it was not the first time only."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch._dynamo.backends.registry import lookup_backend
from torch._dynamo.utils import guard_failures

# reasons that are told; dynamo's own lines can be long
TOLD, LONGEST = 3, 160


class CountingBackend:
    """A backend of torch.compile that counts the graphs it is given. One for each name in a process: what dynamo has
    compiled for one backend object is not used for another."""

    def __init__(self, name: str):
        self.name, self.graphs = name, 0
        self._compile = lookup_backend(name)

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable:
        self.graphs += 1
        return self._compile(graph, inputs)


@functools.cache
def counting(name: str) -> CountingBackend:
    """name: a backend as torch.compile knows it. Raises torch._dynamo.exc.InvalidBackend for another."""
    return CountingBackend(name)


def failures_told() -> list[str]:
    """Dynamo's words, since the process began or dynamo was reset, for each graph that did not fit a call."""
    return [reason for reasons in guard_failures.values() for reason in reasons]


@dataclass
class Compilations:
    """What was compiled while one MODEL, and clones of it, were sampled. `graphs`: in all; `calls`: of the model;
    `again`: call -> graphs compiled in it though calls before it had compiled some; `reasons`: dynamo's, why;
    `given_up`: whether dynamo compiled none where none fitted."""

    blocks: int
    graphs: int = 0
    calls: int = 0
    again: dict[int, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    given_up: bool = False

    def add(self, graphs: int, failures: list[str]) -> None:
        """One more call of the model, in which so many graphs were compiled, for these `failures_told`."""
        self.calls += 1
        if not graphs:
            self.given_up = self.given_up or bool(failures)
            return
        if self.graphs:
            self.again[self.calls] = graphs
            self.reasons += map(_short, failures)
        self.graphs += graphs

    def text(self) -> str:
        """In words: how much was compiled, and what was compiled anew when, with reasons."""
        if not self.calls:
            return f"{self.blocks} blocks will be compiled at the first step"
        start = f"{self.graphs} graphs for {self.blocks} blocks in {self.calls} calls of the model"
        if self.given_up:
            return f"{start}; some run uncompiled: dynamo has compiled their code too often already, restart ComfyUI"
        if not self.graphs:
            return f"{start}: those of models that were loaded before are used"
        if not self.again:
            return f"{start}, none compiled anew"
        text = f"{start}, {sum(self.again.values())} of them later, in call {', '.join(map(str, self.again))}"
        reasons = list(dict.fromkeys(self.reasons))[:TOLD]
        return f"{text}: {'; '.join(reasons)}" if reasons else text


def _short(reason: str) -> str:
    """Dynamo's text for one graph that did not fit, without its number and the code that it names."""
    number, _, rest = reason.partition(": ")
    text = rest if number.replace("/", "").isdigit() else reason
    return text.split("  #")[0].strip()[:LONGEST]
