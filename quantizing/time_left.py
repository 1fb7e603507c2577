"""How long the layers that are left will take: first as estimated, then by how the others went."""

import time
from collections.abc import Sequence

import torch

from ..rounding.estimate import Work, measured, seconds

# share of the work from which on the clock says more than the estimate
KNOWN = 0.1


class TimeLeft:
    """works: of the layers, in their order, on `device`. A speed is measured only if a layer is not simply rounded to
    the nearest."""

    def __init__(self, works: Sequence[Work], device: torch.device):
        slow = any(work.grid is not None for work in works)
        # layers that only differ in size need no speed
        costs = seconds(works, measured(device, _largest(works))) if slow else [_values(work) for work in works]
        self._shares = [cost / sum(costs) for cost in costs]
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
