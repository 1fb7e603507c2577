"""LightX2V's schedules of step-distilled models as core's SIGMAS."""

from itertools import pairwise

import torch

from ...common.printable import PrintableError
from ...lightx2v_config.sampling import TRAINING_STEPS, shifted


class SigmasError(PrintableError, ValueError):
    """The schedule cannot be made. The message says why and what to write instead."""


def parse_steps(text: str) -> list[int]:
    """A text like "1000, 750, 500, 250" -> its numbers, also with brackets, as a LightX2V config has them.

    Raises SigmasError unless they are whole numbers that fall from at most 1000 to at least 1.
    """
    words = text.replace("[", " ").replace("]", " ").replace(",", " ").split()
    steps = [int(word) for word in words if word.isdecimal()]
    inside = all(1 <= step <= TRAINING_STEPS for step in steps)
    falling = all(later < earlier for earlier, later in pairwise(steps))
    if not steps or len(steps) != len(words) or not inside or not falling:
        raise SigmasError(
            f"denoising_step_list is {text!r}. Write falling whole numbers between {TRAINING_STEPS} and 1, for "
            "instance 1000, 750, 500, 250."
        )
    return steps


def distilled(steps: list[int], shift: float) -> torch.Tensor:
    """float32 [len(steps) + 1]: the noise levels at those training steps of the shifted flow schedule, then 0.

    Bit for bit what LightX2V's scheduler has: a float32 table of the whole schedule, of which it takes the rows
    1000 - step (lightx2v/models/schedulers/wan/step_distill/scheduler.py).
    """
    table = shifted(torch.linspace(1.0, 0.0, TRAINING_STEPS + 1), shift)
    return torch.cat([table[[TRAINING_STEPS - step for step in steps]], table.new_zeros(1)])


def split(sigmas: torch.Tensor, boundary: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The schedule of the high- and of the low-noise expert, which takes over with step `boundary`, counted from 0.
    Both hold the noise level between them.

    Raises SigmasError for a boundary that is no step, and for 0: from a schedule of one level core's samplers make
    infinities.
    """
    steps = len(sigmas) - 1
    if not 1 <= boundary <= steps:
        raise SigmasError(
            f"boundary_step_index is {boundary}, the schedule has {steps} steps. Give a number from 1 to {steps}: how "
            "many steps the high-noise expert makes. For none, give the output sigmas to the low-noise expert alone."
        )
    return sigmas[: boundary + 1], sigmas[boundary:]
