"""A KSampler run of a stack of Wan 1.3B blocks, loaded by our loader and, the same weights, by ComfyUI's UNETLoader:
from a bfloat16 file and from the quantized files that ComfyUI reads by itself."""

import tempfile
from pathlib import Path

import comfy.model_management
import comfy.sample
import torch

from ..kernels.machine import Machine, default_device, describe
from ..kernels.timing.case import Case, timed
from ..kernels.timing.clock import FULL, Effort, measure
from ..loading.dit import load_dit
from . import core_loaders, models
from .case import missing
from .shapes import WAN_1_3B
from .wan import WanSize, dit

PART = "sampling"
KINDS = ("int8", "fp8")
BLOCKS, STEPS = 4, 2
# 13 frames of 256 x 256: 4 x 32 x 32 latent positions, 1,024 tokens
LATENT = (1, 16, 4, 32, 32)
QUICK_SIZE, QUICK_LATENT = WanSize(dim=256, ffn=512, blocks=1, text=models.TEXT_WIDTH), (1, 16, 1, 8, 8)
# what a stack must reach against the bfloat16 file on a CPU with VNNI
CPU_TARGETS = {"int8": 2.0}
PEER, NATIVE_PEER = "UNETLoader, bf16 file", "UNETLoader, ComfyUI {} file"


@torch.inference_mode()
def cases(effort: Effort = FULL) -> list[Case]:
    """Two cases per format, in seconds per run: against the bfloat16 file and against ComfyUI's file of that kind."""
    machine = describe(default_device())
    size, latent = (QUICK_SIZE, QUICK_LATENT) if effort.quick else (models.wan_1_3b(BLOCKS), LATENT)
    reasons = {kind: impractical(kind, machine) for kind in KINDS}
    running = [kind for kind in KINDS if reasons[kind] is None]
    with tempfile.TemporaryDirectory() as folder:
        files = models.write(Path(folder), dit(0, size, image_to_video=False), "dit", KINDS, running)
        ours = {kind: load_dit(str(path)) for kind, path in files.ours.items()}
        theirs = {PEER: files.dense, **{NATIVE_PEER.format(kind): path for kind, path in files.native.items()}}
        loaded = {**ours, **{name: core_loaders.load_dit(path) for name, path in theirs.items()}}
        times = measure({name: lambda m=model: sample(m, latent) for name, model in loaded.items()}, effort)
        groups = {kind: model.model.x2v_plan.summary()[0] for kind, model in ours.items()}
        # Windows does not delete a file that a model still has mapped
        del ours, loaded
        comfy.model_management.unload_all_models()
    result = []
    for kind, group in groups.items():
        what = f"KSampler, {_words(size)}, {STEPS} steps, {group['format']} ({group['kernel']})"
        target = CPU_TARGETS.get(kind) if group["activation"] == "int8" and machine.kind == "cpu" else None
        result.append(timed(PART, what, PEER, times[kind], times[PEER], "s", target))
        native = NATIVE_PEER.format(kind)
        if native in times:
            result.append(timed(PART, what, native, times[kind], times[native], "s"))
        else:
            result.append(missing(PART, what, native, times[kind].median, "s", reasons[kind]))
    return result


def impractical(kind: str, machine: Machine) -> str | None:
    """Why a whole run of ComfyUI's file of this kind is not waited for here, or None."""
    if kind == "int8" and machine.kind == "cpu" and not machine.vnni:
        return "is not waited for on a CPU without int8 dot-product instructions (VNNI): see one layer of it in linear"
    return None


def _words(size: WanSize) -> str:
    name = "Wan 1.3B" if size.dim == WAN_1_3B.width else f"{size.dim} wide"
    return f"{size.blocks} {name} block{'s' * (size.blocks > 1)}"


def sample(model, latent: tuple[int, ...]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(latent, generator=generator)
    prompt = [[torch.randn((1, 512, models.TEXT_WIDTH), generator=generator), {}]]
    empty = torch.zeros(latent)
    # cfg 1: the distilled models' setting, one model call a step
    return comfy.sample.sample(
        model, noise, STEPS, 1.0, "euler", "simple", prompt, prompt, empty, disable_pbar=True, seed=0
    )
