"""Samples one model as KSampler does, with its layers watched. Needs ComfyUI on the path."""

from collections.abc import Callable
from dataclasses import dataclass

import comfy.sample
import comfy.samplers
import torch

from .watch import Watch

# (step, predicted clean latent, number of steps)
OnStep = Callable[[int, torch.Tensor, int], None]


@dataclass(frozen=True)
class Settings:
    """KSampler's inputs."""

    seed: int
    steps: int
    cfg: float
    sampler_name: str
    scheduler: str
    denoise: float = 1.0


@dataclass(frozen=True)
class Job:
    """The inputs for both models. `positive`, `negative`: core's conditioning. `latent`: core's LATENT."""

    settings: Settings
    positive: list
    negative: list
    latent: dict

    def sigmas(self, model) -> torch.Tensor:
        """KSampler's noise levels for this model, float32 [steps + 1]."""
        s = self.settings
        return comfy.samplers.KSampler(
            model, s.steps, model.load_device, s.sampler_name, s.scheduler, s.denoise, model_options=model.model_options
        ).sigmas

    def sample(self, model, watch: Watch, on_step: OnStep) -> torch.Tensor:
        """The sampled latents, on core's intermediate device. The noise is the same in every call. Raises core's
        interruption."""
        s, latent = self.settings, self.latent
        start = comfy.sample.fix_empty_latent_channels(
            model, latent["samples"], latent.get("downscale_ratio_spacial"), latent.get("downscale_ratio_temporal")
        )

        def callback(step, x0, x, total):
            watch.step = step + 1
            on_step(step, x0, total)

        return comfy.sample.sample(
            watch.on(model),
            comfy.sample.prepare_noise(start, s.seed, latent.get("batch_index")),
            s.steps,
            s.cfg,
            s.sampler_name,
            s.scheduler,
            self.positive,
            self.negative,
            start,
            denoise=s.denoise,
            noise_mask=latent.get("noise_mask"),
            callback=callback,
            disable_pbar=True,
            seed=s.seed,
        )
