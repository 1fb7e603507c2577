"""SIGMAS of LightX2V's step-distilled models."""

from itertools import pairwise

import torch

from ..common.printable import PrintableError

TRAINING_STEPS = 1000


class SigmasError(PrintableError, ValueError):
    """The schedule cannot be made. The message says why and what to write instead."""


def parse_steps(text: str) -> list[int]:
    """A text like "1000, 750, 500, 250" -> its numbers. Brackets around it are allowed, as in a LightX2V config.

    Raises SigmasError unless they are falling whole numbers between 1000 and 1.
    """
    words = text.replace("[", " ").replace("]", " ").replace(",", " ").split()
    steps = [int(word) for word in words if word.isdecimal()]
    inside = all(1 <= step <= TRAINING_STEPS for step in steps)
    falling = all(later < earlier for earlier, later in pairwise(steps))
    if not steps or len(steps) != len(words) or not inside or not falling:
        raise SigmasError(
            f"The step list (denoising_step_list) is {text!r}. Write falling whole numbers between {TRAINING_STEPS} "
            "and 1, for instance 1000, 750, 500, 250."
        )
    return steps


def shifted(time, shift: float):
    """The noise level (sigma) at `time`, a number or a tensor from 0 to 1, that a shifted flow schedule has."""
    return shift * time / (1 + (shift - 1) * time)


def distilled(steps: list[int], shift: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """[len(steps) + 1]: the noise levels of the shifted flow schedule at these training steps, then 0.

    In float32 bit for bit those of LightX2V, which takes the rows 1000 - step of a table of the whole schedule
    (lightx2v/models/schedulers/wan/step_distill/scheduler.py).
    """
    table = shifted(torch.linspace(1.0, 0.0, TRAINING_STEPS + 1, dtype=dtype), shift)
    return torch.cat([table[[TRAINING_STEPS - step for step in steps]], table.new_zeros(1)])


def split(sigmas: torch.Tensor, boundary: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(schedule of the high-noise expert, schedule of the low-noise one). The low-noise expert begins with step
    `boundary`, counted from 0; the noise level there is in both.

    Raises SigmasError unless 1 <= boundary <= steps: with 0 core's samplers compute infinities from the one level.
    """
    steps = len(sigmas) - 1
    if not 1 <= boundary <= steps:
        raise SigmasError(
            f"There are {boundary} high-noise steps (boundary_step_index), but the step list has {steps}. Give a "
            f"number from 1 to {steps}. For none, connect the output sigmas to the sampler of the low-noise expert "
            "alone."
        )
    return sigmas[: boundary + 1], sigmas[boundary:]
