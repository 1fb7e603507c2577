"""Fair timing: competitors take turns, so that a slow moment of the machine hits all of them."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Effort:
    """How much to measure. Every comparison gets at least `least` rounds, then more until `seconds` are spent or there
    are `rounds`. `patience`: seconds that one run may take where parts can tell beforehand. `quick`: each part takes
    one small case."""

    rounds: int = 21
    least: int = 3
    seconds: float = 3.0
    patience: float = 2.0
    quick: bool = False


FULL = Effort()
QUICK = Effort(rounds=2, least=2, quick=True)


@dataclass(frozen=True)
class Timing:
    """Seconds over `rounds` runs: the median and the quartiles around it."""

    median: float
    low: float
    high: float
    rounds: int


def measure(
    runs: dict[str, Callable[[], object]],
    effort: Effort = FULL,
    warmups: int = 1,
    prepare: Callable[[str], object] = lambda name: None,
) -> dict[str, Timing]:
    """Name -> the seconds of that run, over interleaved rounds after `warmups` untimed ones, each of which begins with
    the next one: nobody always follows the same. A GPU has finished before the clock is read. prepare(name)
    comes before each run and is not timed, nor is the end of what the run returned."""
    names = list(runs)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    begin, rounds = time.perf_counter(), -warmups
    while rounds < effort.least or (rounds < effort.rounds and time.perf_counter() - begin < effort.seconds):
        if rounds == 0:
            begin = time.perf_counter()
        first = rounds % len(names)
        for name in names[first:] + names[:first]:
            prepare(name)
            elapsed = _once(runs[name])
            if rounds >= 0:
                seconds[name].append(elapsed)
        rounds += 1
    return {name: _summary(values) for name, values in seconds.items()}


def _once(run: Callable[[], object]) -> float:
    _synchronize()
    start = time.perf_counter()
    result = run()
    _synchronize()
    elapsed = time.perf_counter() - start
    del result
    return elapsed


def _summary(values: list[float]) -> Timing:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return Timing(median, low, high, len(values))


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
