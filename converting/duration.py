"""How long a conversion takes where weights are not only rounded to the nearest."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from ..kernels.machine import default_device
from ..rounding.estimate import GPU, Work, measured, seconds, words
from .rounded_rows import chunk_of
from .units import Unit


def timed(units: list[Unit], works: Mapping[str, Work], say: Callable[[str], None]) -> list[Unit]:
    """The units with their seconds, which `say` is told in words. works: unit -> what there is to round, empty where
    nothing takes long."""
    if not works:
        return units
    device = default_device()
    order = [unit.name for unit in units if unit.name in works]
    work = [works[name] for name in order]
    found = seconds(work, measured(device, chunk_of(device)))
    say(told(sum(found), sum(seconds(work, GPU)), device))
    by_name = dict(zip(order, found, strict=True))
    return [replace(unit, seconds=by_name.get(unit.name, 0.0)) for unit in units]


def told(here: float, gpu: float, device: torch.device) -> str:
    """here, gpu: seconds on `device` and on estimate.GPU."""
    if device.type == "cuda":
        return f"Rounding takes {words(here)} on this GPU (estimated)."
    count = torch.get_num_threads()
    machine = f"this CPU with {count} thread{'s' * (count > 1)}"
    if words(here) == words(gpu):
        return f"Rounding takes {words(here)} on {machine} (estimated)."
    return f"Rounding takes {words(here)} on {machine}, {words(gpu)} on an RTX 4090 (both estimated)."
