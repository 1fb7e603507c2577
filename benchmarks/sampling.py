"""A KSampler run of a stack of Wan 1.3B blocks, loaded by our loader and, the same weights, by ComfyUI's UNETLoader."""

import tempfile
from pathlib import Path

import comfy.sample
import comfy.sd
import torch

from ..loading import load_dit
from .case import Case
from .models import wan_1_3b, write_pair
from .timing import medians

BLOCKS, STEPS = 4, 2
# 13 frames of 256 x 256: 4 x 32 x 32 latent positions, 1,024 tokens
LATENT = (1, 16, 4, 32, 32)
# what a stack must reach on a CPU with VNNI
CPU_TARGETS = {"int8": 2.0}


@torch.inference_mode()
def cases(repeats: int = 5) -> list[Case]:
    """A case per format, in seconds per run."""
    return [_case(kind, repeats) for kind in ("int8", "fp8")]


def _case(kind: str, repeats: int) -> Case:
    with tempfile.TemporaryDirectory() as folder:
        dense, quantized = write_pair(Path(folder), wan_1_3b(BLOCKS), kind)
        models = {"ours": load_dit(str(quantized)), "theirs": comfy.sd.load_diffusion_model(str(dense))}
        times = medians({name: lambda m=model: _sample(m) for name, model in models.items()}, repeats)
        group = models["ours"].model.x2v_plan.summary()[0]
        # Windows does not delete a file that a model still has mapped
        del models
    name = f"KSampler, {BLOCKS} Wan 1.3B blocks, {STEPS} steps, {group['format']} ({group['kernel']}) vs UNETLoader"
    target = None if torch.cuda.is_available() else CPU_TARGETS.get(kind)
    return Case(name, times["ours"], times["theirs"], "s", target)


def _sample(model) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(LATENT, generator=generator)
    prompt = [[torch.randn((1, 512, 4096), generator=generator), {}]]
    empty = torch.zeros(LATENT)
    # cfg 1: the distilled models' setting, one model call a step
    return comfy.sample.sample(
        model, noise, STEPS, 1.0, "euler", "simple", prompt, prompt, empty, disable_pbar=True, seed=0
    )
