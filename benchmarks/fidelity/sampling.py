"""The demo's recipe on a MODEL, in this process, as KSampler runs it. Needs ComfyUI on the path."""

import time
from collections.abc import Callable, Sequence

import comfy.sample
import torch
from comfy_extras.nodes_model_advanced import ModelSamplingSD3

from ...demo import recipe
from ...demo.scenes import FRAMES, SIDE

# what EmptyHunyuanLatentVideo makes of the demo's videos: 8 x 8 pixels and 4 frames to a position
LATENT = (1, 16, (FRAMES - 1) // 4 + 1, SIDE // 8, SIDE // 8)


def shifted(patcher):
    """The MODEL as ModelSamplingSD3 patches it."""
    return ModelSamplingSD3().patch(patcher, recipe.SHIFT)[0]


def sample(
    model, positive: torch.Tensor, negative: torch.Tensor, seeds: Sequence[int], callback: Callable
) -> torch.Tensor:
    """Latents [seeds, ...] of LATENT's shape, each of its own noise. positive [seeds, tokens, width] and negative
    [1, tokens, width] as the text encoder returns them."""
    empty = torch.zeros(LATENT)
    noise = torch.cat([comfy.sample.prepare_noise(empty, seed) for seed in seeds])
    return comfy.sample.sample(
        model,
        noise,
        recipe.STEPS,
        recipe.CFG,
        recipe.SAMPLER,
        recipe.SCHEDULER,
        [[positive, {}]],
        [[negative, {}]],
        torch.zeros_like(noise),
        callback=callback,
        disable_pbar=True,
        seed=seeds[0],
    )


class Stopwatch:
    """A sampler's callback: the seconds between one step and the next, so the first step of a video is left out."""

    def __init__(self):
        self.seconds: list[float] = []
        self._last = 0.0

    def __call__(self, step: int, *_) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        if step > 0:
            self.seconds.append(now - self._last)
        self._last = now
