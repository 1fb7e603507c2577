"""What one MODEL's samplers did: time, precision and kernels of every step, as data and in words."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from .clock import StepClock

NOTHING = (
    "Nothing was reported: switch step_report of Quantized Sampler Patch on, connect its MODEL to the sampler, and the "
    "sampler's output to this node. If the sampler's result came from the cache, change its seed."
)


@dataclass
class RunReport:
    """One sampler's work. `sampler`: the node's id. `sigmas`: [steps + 1]. `work`: layer -> multiplications in one
    evaluation of the model, empty where it could not be counted, which is in compiled models; `quantizing`: those that
    multiply quantized input where the schedule lets them. `always_high`: the layers that it never lets. `tokens`: the
    most rows that a layer has seen in one evaluation. `evaluations`: for each the number of steps that were through
    before it, and whether all of it is in high precision. `uncounted`: taken by the thread that counts."""

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
        """Of the multiplications of all linear layers in that step: those of quantized input. None: not counted, or
        there were none."""
        highs = [high for at, high in self.evaluations if at == step]
        total = len(highs) * sum(self.work.values())
        if not total:
            return None
        quantized = sum(self.work.get(layer, 0) for layer in self.quantizing - self.always_high)
        return highs.count(False) * quantized / total

    def steps(self) -> list[dict]:
        """One entry per finished step: step (from 1), sigma, seconds, evaluations, quantized (the share, or None) and
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
        """Everything, for the history of an API run."""
        return {"sampler": self.sampler, "model": self.title, "kernels": self.groups, "steps": self.steps()}

    def lines(self) -> list[str]:
        """In words: a head line, a line per group of layers and one per step."""
        steps = self.steps()
        seconds = sum(step["seconds"] for step in steps)
        mean = f", {seconds / len(steps):.3g} s per step" if steps else ""
        done = f"{len(steps)} of {len(self.sigmas) - 1} steps in {seconds:.3g} s{mean}"
        title = f"{self.title}, sampler {self.sampler}" if self.sampler else self.title
        lines = [f"{title}: {done}"]
        lines += [f"- {g['layers']} layers {g['format']} -> {g['kernel']}" for g in self.groups]
        return lines + [_line(step) for step in steps]


def _line(step: dict) -> str:
    words = [f"- step {step['step']}: {step['seconds']:.3g} s, sigma {step['sigma']:.4g}"]
    if step["quantized"] is not None:
        words.append(f"{step['quantized']:.1%} of the multiplications quantized")
    if step["tokens_per_second"] is not None:
        words.append(f"{step['tokens_per_second']:,.0f} tokens/s")
    return ", ".join(words)


@dataclass
class StepReport:
    """Filled while samplers run with one patched MODEL. `show`: gets the text, from time to time and at the end.
    `notes`: lines on how the MODEL was patched; `counted`: what gives a line when the report is read. `runs`: of the
    last prompt that sampled with it."""

    show: Callable[[str], None] = lambda text: None
    notes: list[str] = field(default_factory=list)
    counted: list[Callable[[], str]] = field(default_factory=list)
    runs: list[RunReport] = field(default_factory=list)
    prompt: str | None = None

    def begin(self, run: RunReport, prompt: str | None) -> None:
        """A sampler starts. prompt: the id of what is executed; the runs of another one are forgotten."""
        if prompt != self.prompt:
            self.runs.clear()
        self.prompt = prompt
        self.runs.append(run)

    def text(self) -> str:
        runs = ["\n".join(run.lines()) for run in self.runs] or [NOTHING]
        return "\n\n".join([*runs, "\n".join(self.remarks())]).rstrip()

    def remarks(self) -> list[str]:
        """Notes, and what was counted so far."""
        return [*self.notes, *(count() for count in self.counted)]

    def as_dicts(self) -> list[dict]:
        return [run.as_dict() for run in self.runs]
