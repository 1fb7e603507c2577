"""What Quantized Sampler Patch costs: a KSampler run of a stack of Wan 1.3B blocks with each of its parts on, against
the same MODEL without it."""

import tempfile
from pathlib import Path

import comfy.model_management
import torch

from ..demo.wan import dit
from ..loading import load_dit
from ..sampling import PrecisionSchedule, StepReport, patched
from ..sharing import shared_activations
from . import models
from .case import Case, timed
from .sampling import BLOCKS, LATENT, QUICK_LATENT, QUICK_SIZE, STEPS, sample
from .timing import FULL, Effort, measure

PART = "sampler_patch"
KIND = "int8"
PEER = "the same MODEL without the patch"
# the ratio that is promised: no measurable time while everything is off, and 1 % for the guard
TARGETS = {"everything off": 0.99, "NaN guard": 0.99}


def variants(model) -> dict:
    """What is switched on -> `model` with that."""
    return {
        "everything off": patched(model, PrecisionSchedule()),
        "NaN guard": patched(model, nan_guard=True),
        "step report": patched(model, report=StepReport()),
        "all steps in high precision": patched(model, PrecisionSchedule(first=STEPS)),
        "shared activations": shared_activations(model)[0],
    }


@torch.inference_mode()
def cases(effort: Effort = FULL) -> list[Case]:
    """One case per part of the patch, in seconds per step."""
    size, latent = (QUICK_SIZE, QUICK_LATENT) if effort.quick else (models.wan_1_3b(BLOCKS), LATENT)
    with tempfile.TemporaryDirectory() as folder:
        files = models.write(Path(folder), dit(0, size, image_to_video=False), "dit", (KIND,), ())
        model = load_dit(str(files.ours[KIND]))
        runs = {PEER: model, **variants(model)}
        times = measure({name: lambda m=m: sample(m, latent) for name, m in runs.items()}, effort)
        group = model.model.x2v_plan.summary()[0]
        # Windows does not delete a file that a model still has mapped
        del runs, model
        comfy.model_management.unload_all_models()
    what = f"KSampler, {STEPS} steps, {group['format']} ({group['kernel']})"
    return [
        timed(PART, f"{what}, {name}", PEER, times[name], times[PEER], "s", TARGETS.get(name))
        for name in times
        if name != PEER
    ]
