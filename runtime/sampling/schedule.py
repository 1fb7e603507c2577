"""The precision schedule: which steps and which layers run in high precision."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ...common.printable import PrintableError
from ...layer_rules.overrides import COMMENT, KEEP, Override, check_length, near, parse_overrides


class ScheduleError(PrintableError, ValueError):
    """The precision schedule cannot be followed. The message says why and what to write instead."""


@dataclass(frozen=True)
class PrecisionSchedule:
    """High precision for all layers in some steps, and for some layers in all steps.

    `first`, `last`: numbers of steps at the beginning and the end of a sampler's run. `start`, `end`: a range of the
    noise schedule from 0 (all noise) to 1 (none), as core's nodes count; empty unless start < end. `patterns`: layers
    that run in high precision in every step."""

    first: int = 0
    last: int = 0
    start: float = 0.0
    end: float = 0.0
    patterns: tuple[Override, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.first or self.last or self.ranged or self.patterns)

    @property
    def ranged(self) -> bool:
        return self.start < self.end

    def high_steps(self, sigmas: list[float], percent_to_sigma: Callable[[float], float]) -> tuple[bool, ...]:
        """For each step, whether all of it runs in high precision. sigmas: falling noise levels [steps + 1].
        percent_to_sigma: from the model's ModelSampling."""
        steps = len(sigmas) - 1
        low, high = (percent_to_sigma(self.end), percent_to_sigma(self.start)) if self.ranged else (1.0, 0.0)
        return tuple(
            step < self.first or step >= steps - self.last or low <= sigma <= high
            for step, sigma in enumerate(sigmas[:-1])
        )

    def matches(self, layer: str) -> bool:
        """Whether `layer` is in high precision in every step."""
        return any(pattern.matches(layer) for pattern in self.patterns)

    def check(self, layers: Iterable[str]) -> None:
        """layers: names of the quantized layers. Raises ScheduleError if there are none, or a pattern matches none."""
        layers = list(layers)
        if not layers:
            raise ScheduleError(
                "The model has no layer that this pack has quantized, so there is no precision to schedule. Load it "
                "with Load Quantized DiT, or put Quantize Model after its loader."
            )
        for pattern in self.patterns:
            if not any(pattern.matches(layer) for layer in layers):
                meant = ", ".join(near(pattern.pattern, layers)) or layers[0]
                raise ScheduleError(
                    f"No quantized layer is called {pattern.pattern!r}. Write names as the model has them, for "
                    f"instance: {meant}."
                )


def parse_layers(text: str) -> tuple[Override, ...]:
    """The patterns in a text: one per line or several with commas, in the syntax of Quantize Model's layer rules and
    with the same limits."""
    check_length(text)
    words = [word.strip() for line in text.splitlines() for word in _between_commas(line.partition(COMMENT)[0])]
    return tuple(parse_overrides("\n".join(f"{word} = {KEEP}" for word in dict.fromkeys(words) if word)))


def _between_commas(line: str) -> list[str]:
    """Split at commas, except inside [...]."""
    words, end, inside = [], len(line), False
    for place in range(len(line) - 1, -1, -1):
        if line[place] in "[]":
            inside = line[place] == "]"
        elif line[place] == "," and not inside:
            words.append(line[place + 1 : end])
            end = place
    return [line[:end], *reversed(words)]
