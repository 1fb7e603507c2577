"""Samples the models while they are in training's hands: quicker than a server, for gates and for a look."""

from collections.abc import Callable
from itertools import pairwise

import torch
from comfy.latent_formats import Wan21
from comfy.ldm.wan.vae import WanVAE

from ...demo.reading import Reading, read
from ...demo.recipe import CFG, NEGATIVE, SHIFT, STEPS
from ...demo.scenes import FRAMES, HELD_OUT, SIDE, Scene

ATTRIBUTES = ("colour", "shape", "direction")
BATCH = 12


# latents [B, 16, T, H, W], noise levels [B], captions -> velocity
Model = Callable[[torch.Tensor, torch.Tensor, list[str]], torch.Tensor]


@torch.no_grad()
def sample(model: Model, vae: WanVAE, captions: list[str], seed: int, device: torch.device) -> torch.Tensor:
    """Euler steps along the shifted schedule with guidance -> videos [captions, FRAMES, SIDE, SIDE, 3] in 0 to 1.

    The model is called with twice as many latents: those with their captions, and again with the empty one.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = (len(captions), 16, (FRAMES - 1) // 4 + 1, SIDE // 8, SIDE // 8)
    x = torch.randn(shape, generator=generator).to(device)
    even = torch.linspace(1, 0, STEPS + 1)
    levels = (SHIFT * even / (1 + (SHIFT - 1) * even)).tolist()
    for level, following in pairwise(levels):
        prompts = [*captions, *[NEGATIVE] * len(x)]
        both = model(torch.cat([x, x]), torch.full((2 * len(x),), level, device=device), prompts)
        with_prompt, without = both.chunk(2)
        x = x + (following - level) * (without + CFG * (with_prompt - without))
    decoded = vae.decode(Wan21().process_out(x))
    return (decoded.permute(0, 2, 3, 4, 1).cpu() / 2 + 0.5).clamp(0, 1)


def accuracy(
    model_for: Callable[[list[Scene]], Model], vae: WanVAE, scenes: list[Scene], seed: int, device: torch.device
) -> dict[str, float]:
    """Shares of prompts whose colour, shape and direction are read off the sampled video, and "held out": the share of
    combinations never trained on of which all three are. model_for(scenes): the model that samples these."""
    readings: list[tuple[Scene, Reading]] = []
    for start in range(0, len(scenes), BATCH):
        chosen = scenes[start : start + BATCH]
        videos = sample(model_for(chosen), vae, [scene.caption for scene in chosen], seed + start, device)
        readings += [(scene, read(video)) for scene, video in zip(chosen, videos, strict=True)]
    hits = [(scene, reading.matches(scene)) for scene, reading in readings]
    unseen = [all(hit.values()) for scene, hit in hits if scene in HELD_OUT]
    shares = {name: sum(hit[name] for _, hit in hits) / len(hits) for name in ATTRIBUTES}
    return shares | ({"held out": sum(unseen) / len(unseen)} if unseen else {})
