"""A forward pass through a stack of real blocks, loaded by our loaders and, the same weights in bfloat16, by core's."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import comfy.model_management
import torch

from ..kernels.timing.case import Case, timed
from ..kernels.timing.clock import FULL, Effort, measure
from ..loading.clip_vision import load_clip_vision
from ..loading.dit import load_dit
from ..loading.t5 import load_t5
from . import core_loaders, models, shapes

PART = "blocks"
KINDS = ("int8", "fp8")
# latents of 832 x 480 x 81; a CPU gets 1,024 tokens of 256 x 256 x 13, or 256 of 256 x 256 x 1
VIDEO, CPU_CLIP, CPU_IMAGE = (1, 16, 21, 60, 104), (1, 16, 4, 32, 32), (1, 16, 1, 32, 32)
TIMESTEP = 0.5
PROMPT = "a small red fox runs over the sea"


@dataclass(frozen=True)
class Stack:
    """`blocks` of a model. write(folder, blocks) makes its files; ours(path) and core(path, blocks) load them; run(what
    they gave) is one forward pass; plan(ours) its plan; core_dtype(core's) what core computes in."""

    model: shapes.Model
    blocks: int
    write: Callable[[Path, int], models.Files]
    ours: Callable[[str], object]
    core: Callable[[Path, int], object]
    run: Callable[[object], object]
    tokens: int
    plan: Callable[[object], object]
    core_dtype: Callable[[object], torch.dtype]


def _wan(model: shapes.Model, blocks: int, cpu_latent: tuple[int, ...]) -> Stack:
    latent = cpu_latent if comfy.model_management.cpu_mode() else VIDEO
    return Stack(
        model,
        blocks,
        lambda folder, count: models.write(folder, models.wan(model, count), "dit", KINDS),
        load_dit,
        lambda path, count: core_loaders.load_dit(path),
        lambda patcher: _forward(patcher, latent),
        latent[2] * latent[3] * latent[4] // 4,
        lambda patcher: patcher.model.x2v_plan,
        lambda patcher: patcher.model.get_dtype_inference(),
    )


def _t5(model: shapes.Model, blocks: int) -> Stack:
    return Stack(
        model,
        blocks,
        lambda folder, count: models.write(folder, models.umt5(folder, model, count), "t5", KINDS),
        load_t5,
        lambda path, count: core_loaders.load_t5(path, model, count),
        lambda clip: clip.encode_from_tokens(clip.tokenize(PROMPT)),
        shapes.PROMPT_TOKENS,
        lambda clip: clip.cond_stage_model.x2v_plan,
        lambda clip: torch.float32,  # core hands its text encoders float32
    )


def _clip(model: shapes.Model, blocks: int) -> Stack:
    image = torch.rand((1, 224, 224, 3), generator=torch.Generator().manual_seed(0))
    return Stack(
        model,
        blocks,
        lambda folder, count: models.write(folder, models.clip_vision(model, count), "clip", KINDS),
        load_clip_vision,
        core_loaders.load_clip_vision,
        lambda clip_vision: clip_vision.encode_image(image),
        shapes.IMAGE_TOKENS,
        lambda clip_vision: clip_vision.model.x2v_plan,
        lambda clip_vision: torch.float32,  # core prepares pixels in float32
    )


def stacks() -> tuple[Stack, ...]:
    return (
        _wan(shapes.WAN_1_3B, 1, CPU_CLIP),
        _wan(shapes.WAN_14B, 1, CPU_IMAGE),
        _t5(shapes.UMT5_XXL, 1),
        _clip(shapes.CLIP_H, 4),
    )


def _quick() -> tuple[Stack, ...]:
    return (_clip(shapes.CLIP_H, 2),)


@torch.inference_mode()
def cases(effort: Effort = FULL) -> list[Case]:
    """A case per stack and format, in milliseconds per forward pass. Each side computes in the dtype it takes by
    itself; that of core stands in the peer's name."""
    return [case for stack in (_quick() if effort.quick else stacks()) for case in _cases(stack, effort)]


def _cases(stack: Stack, effort: Effort) -> list[Case]:
    with tempfile.TemporaryDirectory() as folder:
        files = stack.write(Path(folder), stack.blocks)
        ours = {kind: stack.ours(str(path)) for kind, path in files.ours.items()}
        core = stack.core(files.dense, stack.blocks)
        runs = {name: lambda m=model: stack.run(m) for name, model in {**ours, "core": core}.items()}
        times = measure(runs, effort)
        groups = {kind: stack.plan(model).summary()[0] for kind, model in ours.items()}
        computing = str(stack.core_dtype(core)).removeprefix("torch.")
        # Windows does not delete a file that a model still has mapped
        del ours, core, runs
        comfy.model_management.unload_all_models()
    what = f"{stack.model.name}, {stack.blocks} block{'s' * (stack.blocks > 1)}, {stack.tokens} tokens"
    peer = f"ComfyUI, bf16 file, computing {computing}"
    return [
        timed(PART, f"{what}, {group['format']} ({group['kernel']})", peer, times[kind], times["core"])
        for kind, group in groups.items()
    ]


def _forward(patcher, latent: tuple[int, ...]) -> torch.Tensor:
    """One call of the diffusion model as a sampler makes it."""
    comfy.model_management.load_models_gpu([patcher])
    generator = torch.Generator().manual_seed(0)
    device = patcher.load_device
    x = torch.randn(latent, generator=generator).to(device)
    context = torch.randn((1, shapes.PROMPT_TOKENS, models.TEXT_WIDTH), generator=generator).to(device)
    return patcher.model.apply_model(x, torch.full((1,), TIMESTEP, device=device), c_crossattn=context)
