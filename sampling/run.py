"""What a sampler is at: its schedule and the number of its step, without asking the GPU."""

from dataclasses import dataclass, field

import torch

from .high_precision import in_high_precision, quantized_layers
from .schedule import PrecisionSchedule


@dataclass
class SamplerRun:
    """`sigmas`: [steps + 1]. `high`: for each step, whether all of it is in high precision. `step`: the one that is
    computed, from 0."""

    sigmas: list[float]
    high: tuple[bool, ...]
    step: int = 0
    _layers: dict[int, dict] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1

    @property
    def in_high(self) -> bool:
        return self.high[self.step]

    def finished(self, step: int) -> None:
        """A sampler has told that `step` is done. One that adapts its steps may make more than its schedule has."""
        self.step = min(step + 1, self.steps - 1)

    def layers(self, diffusion_model: torch.nn.Module) -> dict:
        """`quantized_layers`, looked up once per run: each GPU has a model of its own."""
        key = id(diffusion_model)
        if key not in self._layers:
            self._layers[key] = quantized_layers(diffusion_model)
        return self._layers[key]


class Follower:
    """Knows the run while a sampler works, None otherwise. A model evaluation belongs to the step whose end the sampler
    has not told yet, so the second evaluation of a two-stage step counts to the next one, whose noise level it has."""

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

    def apply(self, executor, *args, **kwargs):
        """A wrapper of BaseModel.apply_model."""
        run, schedule = self.follower.run, self.follower.schedule
        layers = run.layers(executor.class_obj.diffusion_model)
        high = layers.values() if run.in_high else [m for name, m in layers.items() if schedule.matches(name)]
        with in_high_precision(high):
            return executor(*args, **kwargs)
