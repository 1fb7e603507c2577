"""What Quantized Sampler Patch costs and saves: a KSampler run of a stack of Wan 1.3B blocks with each of its parts on,
against the same MODEL without it."""

import tempfile
from dataclasses import replace
from pathlib import Path

import comfy.model_management
import torch

from ..kernels.timing.case import Case, timed
from ..kernels.timing.clock import FULL, Effort, measure
from ..loading.dit import load_dit
from ..runtime.sampling import PrecisionSchedule, StepReport, patched
from ..runtime.sharing import shared_activations
from ..schemes import SchemeChoice
from . import models
from .sampling import BLOCKS, QUICK_LATENT, QUICK_SIZE, STEPS, sample
from .wan import dit

PART = "sampler_patch"
KIND = "int8"
PEER = "the same MODEL without the patch"
SHARING = "shared activations"
# quantizes activations on every machine; where `auto` takes a kernel that quantizes none, there is nothing to share
QUANTIZING_SCHEME = "int8-reference"
ROUNDS = 11  # at least: what is looked for is a hundredth
# latents of 832 x 480 x 81; a CPU gets 256 tokens, of which what does not depend on their number is a larger share
VIDEO, CPU_IMAGE = (1, 16, 21, 60, 104), (1, 16, 1, 32, 32)
# the ratio that is promised: no measurable time while everything is off, 1 % for the guard, a shorter step by sharing
TARGETS = {"everything off": 0.99, "NaN guard": 0.99, SHARING: 1.0}


def variants(model) -> dict:
    """What is switched on -> `model` with that."""
    return {
        "everything off": patched(model, PrecisionSchedule()),
        "NaN guard": patched(model, nan_guard=True),
        "step report": patched(model, report=StepReport()),
        "all steps in high precision": patched(model, PrecisionSchedule(first=STEPS)),
    }


def quantizes(model) -> bool:
    """Whether a layer of `model` quantizes its input in a step of its own, which layers can share."""
    kernels = {getattr(module, "kernel", None) for module in model.model.diffusion_model.modules()}
    return any(kernel is not None and kernel.steps is not None for kernel in kernels)


@torch.inference_mode()
def cases(effort: Effort = FULL) -> list[Case]:
    """One case per part of the patch, in seconds per run."""
    size = QUICK_SIZE if effort.quick else models.wan_1_3b(BLOCKS)
    full = CPU_IMAGE if comfy.model_management.cpu_mode() else VIDEO
    latent = QUICK_LATENT if effort.quick else full
    with tempfile.TemporaryDirectory() as folder:
        path = str(models.write(Path(folder), dit(0, size, image_to_video=False), "dit", (KIND,), ()).ours[KIND])
        model = load_dit(path)
        found = _against(model, variants(model), latent, effort)
        if not quantizes(model):
            del model
            model = load_dit(path, SchemeChoice(QUANTIZING_SCHEME))
        found += _against(model, {SHARING: shared_activations(model)[0]}, latent, effort)
        # Windows does not delete a file that a model still has mapped
        del model
        comfy.model_management.unload_all_models()
    return found


def _against(model, changed: dict, latent: tuple[int, ...], effort: Effort) -> list[Case]:
    """A case for each of `changed`, timed in turns with `model` itself."""
    effort = effort if effort.quick else replace(effort, least=ROUNDS)
    runs = {PEER: model, **changed}
    times = measure({name: lambda m=m: sample(m, latent) for name, m in runs.items()}, effort)
    group = model.model.x2v_plan.summary()[0]
    what = f"KSampler, {STEPS} steps, {group['format']} ({group['kernel']})"
    return [timed(PART, f"{what}, {name}", PEER, times[name], times[PEER], "s", TARGETS.get(name)) for name in changed]
