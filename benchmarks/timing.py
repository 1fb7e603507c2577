"""Fair timing: competitors take turns, so that a slow moment of the machine hits all of them."""

import statistics
import time
from collections.abc import Callable

import torch


def medians(runs: dict[str, Callable[[], object]], repeats: int, warmups: int = 1) -> dict[str, float]:
    """Name -> median seconds over `repeats` interleaved rounds, after `warmups` untimed ones."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_number in range(warmups + repeats):
        for name, run in runs.items():
            _synchronize()
            start = time.perf_counter()
            run()
            _synchronize()
            if round_number >= warmups:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
