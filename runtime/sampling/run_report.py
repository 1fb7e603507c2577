"""The report on one run of one sampler: time, precision and kernels of its steps, as data and as text."""

import threading
from collections import Counter
from dataclasses import dataclass, field

from .clock import StepClock


@dataclass
class RunReport:
    """One run of one sampler.

    `sampler`: id of its node. `groups`: Plan.summary(). `sigmas`: noise levels [steps + 1]. `work`: layer -> number of
    multiplications in one evaluation of the model; empty for compiled models, where they cannot be counted.
    `quantizing`: layers whose kernel multiplies quantized input; `always_high`: those of them in high precision in
    every step. `tokens`: the most rows of a layer's input in one evaluation. `evaluations`: for each (steps done
    before it, whether all of it ran in high precision). `uncounted`: lock that the first counting thread takes."""

    sampler: str
    title: str
    groups: list[dict]
    sigmas: list[float]
    quantizing: set[str]
    clock: StepClock
    work: dict[str, int] = field(default_factory=dict)
    always_high: set[str] = field(default_factory=set)
    tokens: int = 0
    evaluations: list[tuple[int, bool]] = field(default_factory=list)
    uncounted: threading.Lock = field(default_factory=threading.Lock)

    def share(self, step: int) -> float | None:
        """The share of the step's multiplications, over all linear layers, that had quantized input; None if they
        were not counted."""
        highs = [high for at, high in self.evaluations if at == step]
        total = len(highs) * sum(self.work.values())
        if not total:
            return None
        quantized = sum(self.work.get(layer, 0) for layer in self.quantizing - self.always_high)
        return highs.count(False) * quantized / total

    def steps(self) -> list[dict]:
        """An entry per finished step: step (from 1), sigma, seconds, evaluations, quantized (`share`, or None) and
        tokens_per_second (or None)."""
        calls = Counter(at for at, _ in self.evaluations)
        return [
            {
                "step": step + 1,
                "sigma": self.sigmas[step],
                "seconds": seconds,
                "evaluations": calls[step],
                "quantized": self.share(step),
                "tokens_per_second": self.tokens * calls[step] / seconds if self.tokens and seconds else None,
            }
            for step, seconds in enumerate(self.clock.seconds()[: len(self.sigmas) - 1])
        ]

    def as_dict(self) -> dict:
        """The run as JSON, for the history of an API run."""
        return {"sampler": self.sampler, "model": self.title, "kernels": self.groups, "steps": self.steps()}

    def lines(self, most: int | None = None) -> list[str]:
        """As text: a head line, a line per group of layers and one per step, for the first `most`."""
        steps = self.steps()
        seconds = sum(step["seconds"] for step in steps)
        mean = f", {seconds / len(steps):.3g} s per step" if steps else ""
        done = f"{len(steps)} of {len(self.sigmas) - 1} steps in {seconds:.3g} s{mean}"
        title = f"{self.title}, sampler {self.sampler}" if self.sampler else self.title
        lines = [f"{title}: {done}"]
        lines += [f"- {g['layers']} layers {g['format']} -> {g['kernel']}" for g in self.groups]
        more = [f"- ... {len(steps) - most} more: the output report"] if most is not None and len(steps) > most else []
        return [*lines, *map(_line, steps[:most]), *more]


def _line(step: dict) -> str:
    words = [f"- step {step['step']}: {step['seconds']:.3g} s, sigma {step['sigma']:.4g}"]
    if step["quantized"] is not None:
        words.append(f"{step['quantized']:.1%} quantized")
    if step["tokens_per_second"] is not None:
        words.append(f"{step['tokens_per_second']:,.0f} tokens/s")
    return ", ".join(words)
