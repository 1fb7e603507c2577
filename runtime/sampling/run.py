"""The state of a running sampler: its noise levels, its step, and the step that an evaluation belongs to."""

from dataclasses import dataclass, field
from itertools import pairwise

import torch

from ...linear.layers import our_layers
from .high_precision import in_high_precision
from .schedule import PrecisionSchedule

# relative rounding error of noise levels that samplers compute from logarithms
ROUNDING = 1e-5


@dataclass
class SamplerRun:
    """`sigmas`: noise levels [steps + 1]. `high`: for each step, whether all of it runs in high precision. `step`: the
    current step from 0, the first that the sampler has not reported as done."""

    sigmas: list[float]
    high: tuple[bool, ...]
    step: int = 0
    _layers: dict[int, dict] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1

    def step_at(self, sigma: float) -> int:
        """The step whose interval contains the noise level `sigma`, begin included, end excluded. Of several the one
        nearest to `step`; `step` itself if there is none."""
        through = [i for i, (begin, end) in enumerate(pairwise(self.sigmas)) if _goes_through(begin, end, sigma)]
        return min(through, key=lambda i: abs(i - self.step), default=self.step)

    def is_high(self, sigma: torch.Tensor) -> bool:
        """Whether an evaluation at noise level `sigma` [B] runs in high precision. Waits for the GPU unless all steps
        agree: samplers report a step before, between or after its evaluations, so only sigma tells which one it is."""
        alike = len(set(self.high)) == 1
        return self.high[0 if alike else self.step_at(float(sigma.max()))]

    def finished(self, step: int) -> None:
        """The sampler reports that `step` is done. Adaptive samplers may make more steps than their schedule has."""
        self.step = min(step + 1, self.steps - 1)

    def layers(self, diffusion_model: torch.nn.Module) -> dict:
        """`our_layers` of the model, cached per run and model: each GPU has a model of its own."""
        key = id(diffusion_model)
        if key not in self._layers:
            self._layers[key] = our_layers(diffusion_model)
        return self._layers[key]


def _goes_through(begin: float, end: float, sigma: float) -> bool:
    """Whether `sigma` lies from `begin`, inclusive, to `end`, exclusive. The interval falls, or rises while a sampler
    looks for the noise of a given latent."""
    close = ROUNDING * abs(sigma)
    return begin + close >= sigma > end + close if begin > end else begin - close <= sigma < end - close


class Follower:
    """Holds the current SamplerRun while a sampler works, None otherwise."""

    def __init__(self, schedule: PrecisionSchedule):
        self.schedule = schedule
        self.run: SamplerRun | None = None

    def sample(self, executor, guider, sigmas, extra_args, callback, *args, **kwargs):
        """SAMPLER_SAMPLE wrapper."""
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
        """APPLY_MODEL wrapper."""
        run, schedule = self.follower.run, self.follower.schedule
        layers = run.layers(executor.class_obj.diffusion_model)
        high = layers.values() if run.is_high(t) else [m for name, m in layers.items() if schedule.matches(name)]
        with in_high_precision(high):
            return executor(x, t, *args, **kwargs)
