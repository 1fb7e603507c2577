"""How long a conversion takes where weights are not only rounded to the nearest."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property

import torch

from ..kernels.machine import default_device
from ..rounding.estimate import GPU, Speed, Work, measured, seconds, words
from .foreseen import Foreseen
from .rounded_rows import chunk_of
from .units import Unit

# seconds for each value of Foreseen.tried, on one core: 45 for each GB of a model and the formats of the dialect x2v
TRIED = 5e-8


class Duration:
    """Of one conversion. `say` is told in words how long it will take, once, before it begins."""

    def __init__(self, say: Callable[[str], None] = lambda line: None):
        self._say = say
        self._device = default_device()
        self.estimated = 0.0

    @cached_property
    def _speed(self) -> Speed:
        return measured(self._device, chunk_of(self._device))

    def foresee(self, work: Foreseen) -> None:
        """Says, and keeps in `estimated`, the seconds for all of it; nothing of what is quick."""
        if work.is_quick:
            return
        self.estimated = _total(work, self._speed)
        measures = bool(work.tried or work.trials)
        self._say(told(self.estimated, _total(work, GPU), self._device, measures))

    def timed(self, units: list[Unit], works: Mapping[str, Work]) -> list[Unit]:
        """The units with their seconds. works: unit -> what there is to round, empty where nothing takes long."""
        if not works:
            return units
        order = [unit.name for unit in units if unit.name in works]
        by_name = dict(zip(order, seconds((works[name] for name in order), self._speed), strict=True))
        return [replace(unit, seconds=by_name.get(unit.name, 0.0)) for unit in units]


def _total(work: Foreseen, speed: Speed) -> float:
    """Seconds; of the formats that may be chosen their mean."""
    found = [_sum(each, speed) for each in work.works]
    return work.tried * TRIED + _sum(work.trials, speed) + sum(found) / max(1, len(found))


def _sum(works: Iterable[Work], speed: Speed) -> float:
    """Those with the same input come one after the other."""
    return sum(seconds(sorted(works, key=lambda work: str(work.key)), speed))


def told(here: float, gpu: float, device: torch.device, measures: bool = False) -> str:
    """here, gpu: seconds on `device` and on estimate.GPU. measures: whether formats or factors are looked for first."""
    what = "Measuring and rounding take" if measures else "Rounding takes"
    if device.type == "cuda":
        return f"{what} {words(here)} on this GPU (estimated)."
    count = torch.get_num_threads()
    machine = f"this CPU with {count} thread{'s' * (count > 1)}"
    if words(here) == words(gpu):
        return f"{what} {words(here)} on {machine} (estimated)."
    return f"{what} {words(here)} on {machine}, {words(gpu)} on an RTX 4090 (both estimated)."
