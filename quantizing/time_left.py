"""How long the layers that are left will take: first as estimated, then by how the others went."""

import time
from collections.abc import Sequence

import torch

from ..rounding.estimate import Work, measured, seconds

# share of the work from which on the clock says more than the estimate
KNOWN = 0.1


class TimeLeft:
    """works: of the layers, in their order, on `device`; None for one that keeps its codes, which takes no time. A
    speed is measured only if a layer is not simply rounded to the nearest."""

    def __init__(self, works: Sequence[Work | None], device: torch.device):
        rounded = [work for work in works if work is not None]
        slow = any(work.grid is not None for work in rounded)
        # layers that only differ in size need no speed
        costs = seconds(rounded, measured(device, _largest(rounded))) if slow else [_values(work) for work in rounded]
        of_rounded = iter(costs)
        total = sum(costs) or 1
        self._shares = [0.0 if work is None else next(of_rounded) / total for work in works]
        self._expected = sum(costs) if slow else None
        self._started = time.monotonic()

    def after(self, done: int) -> float | None:
        """Seconds, when so many layers are done; None if that is not known yet."""
        share = sum(self._shares[:done])
        if share >= KNOWN:
            return (time.monotonic() - self._started) * (1 - share) / share
        return None if self._expected is None else self._expected * (1 - share)


def _values(work: Work) -> int:
    return work.shape[0] * work.shape[1]


def _largest(works: Sequence[Work]) -> int:
    return max(map(_values, works))
