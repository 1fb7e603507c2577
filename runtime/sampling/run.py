"""What a sampler is at: its schedule, the step that it has come to, and the one that an evaluation belongs to."""

from dataclasses import dataclass, field
from itertools import pairwise

import torch

from ...linear.layers import our_layers
from .high_precision import in_high_precision
from .schedule import PrecisionSchedule

# of noise levels that samplers compute from logarithms
ROUNDING = 1e-5


@dataclass
class SamplerRun:
    """`sigmas`: [steps + 1]. `high`: for each step, whether all of it is in high precision. `step`: the one whose end
    the sampler has not told yet, from 0."""

    sigmas: list[float]
    high: tuple[bool, ...]
    step: int = 0
    _layers: dict[int, dict] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1

    def step_at(self, sigma: float) -> int:
        """The step that goes through the noise level `sigma`, its end left to the next one; of several the nearest to
        `step`, which it is too where none does."""
        through = [i for i, (begin, end) in enumerate(pairwise(self.sigmas)) if _goes_through(begin, end, sigma)]
        return min(through, key=lambda i: abs(i - self.step), default=self.step)

    def is_high(self, sigma: torch.Tensor) -> bool:
        """Whether an evaluation at the noise level `sigma`, [B], is in high precision. Where that is not the same in
        every step the GPU is waited for: samplers tell the end of a step before, between or after its evaluations."""
        alike = len(set(self.high)) == 1
        return self.high[0 if alike else self.step_at(float(sigma.max()))]

    def finished(self, step: int) -> None:
        """A sampler has told that `step` is done. One that adapts its steps may make more than its schedule has."""
        self.step = min(step + 1, self.steps - 1)

    def layers(self, diffusion_model: torch.nn.Module) -> dict:
        """`our_layers`, looked up once per run: each GPU has a model of its own."""
        key = id(diffusion_model)
        if key not in self._layers:
            self._layers[key] = our_layers(diffusion_model)
        return self._layers[key]


def _goes_through(begin: float, end: float, sigma: float) -> bool:
    """From `begin`, inclusive, to `end`, down or, while noise is found for a latent, up."""
    close = ROUNDING * abs(sigma)
    return begin + close >= sigma > end + close if begin > end else begin - close <= sigma < end - close


class Follower:
    """Knows the run while a sampler works, None otherwise."""

    def __init__(self, schedule: PrecisionSchedule):
        self.schedule = schedule
        self.run: SamplerRun | None = None

    def sample(self, executor, guider, sigmas, extra_args, callback, *args, **kwargs):
        """A wrapper of a sampler's `sample`."""
        levels = sigmas.tolist()
        percent_to_sigma = guider.inner_model.model_sampling.percent_to_sigma
        run = self.run = SamplerRun(levels, self.schedule.high_steps(levels, percent_to_sigma))

        def told(step, denoised, x, total):
            if callback is not None:
                callback(step, denoised, x, total)
            run.finished(step)

        try:
            return executor(guider, sigmas, extra_args, told, *args, **kwargs)
        finally:
            self.run = None


class Precision:
    """Runs the scheduled steps and layers in high precision."""

    def __init__(self, follower: Follower):
        self.follower = follower

    def apply(self, executor, x, t, *args, **kwargs):
        """A wrapper of BaseModel.apply_model."""
        run, schedule = self.follower.run, self.follower.schedule
        layers = run.layers(executor.class_obj.diffusion_model)
        high = layers.values() if run.is_high(t) else [m for name, m in layers.items() if schedule.matches(name)]
        with in_high_precision(high):
            return executor(x, t, *args, **kwargs)
