"""A whole Wan 14B whose blocks stream through a few GB of VRAM, against the same model that stays there: time of a
step, and VRAM of its weights. Needs a GPU that holds the model, and 18 GB of disk."""

import shutil
import statistics
import tempfile
import time
from pathlib import Path

import comfy.model_management
import comfy.sample
import torch

from ..kernels.machine import default_device
from ..kernels.timing.case import Case
from ..kernels.timing.clock import FULL, Effort
from ..loading.dit import load_dit
from ..runtime.offload import BLOCK, OffloadSettings
from ..runtime.offload.apply import offloaded
from . import models, random_file
from .case import missing
from .shapes import WAN_14B, Model

PART = "offloading"
KINDS = ("int8", "fp8")
BLOCKS, STEPS = 40, 4
# 81 frames of 832 x 480: 32,760 tokens
LATENT = (1, 16, 21, 60, 104)
QUICK_MODEL, QUICK_LATENT = Model("small", "dit", width=256, mlp=512, heads=2, blocks=2, layers=()), (1, 16, 1, 8, 8)
BUDGET_GB = 4.0
RESIDENT = "the model resident"
# "within 10 % of the resident step time", "VRAM of weights within 5 % of the budget"
SPEED, MEMORY = 1 / 1.1, 1.05
DISK_BYTES = 18_000_000_000


@torch.inference_mode()
def cases(effort: Effort = FULL) -> list[Case]:
    """Seconds of a step and MB of weights, with dynamic VRAM (if this machine has it) and without."""
    reason = why_not(effort)
    if reason is not None:
        return [missing(PART, _words(kind, ""), RESIDENT, None, "s", reason) for kind in KINDS]
    result = []
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"wan_{kind}.safetensors"
            random_file.write(path, random_file.specs(WAN_14B, BLOCKS, kind))
            model = load_dit(str(path))
            resident = step_seconds(model, LATENT)
            for name, patcher in patchers(model).items():
                made = offloaded(patcher, OffloadSettings(BLOCK, budget_gb=BUDGET_GB))
                weights: list[int] = []
                seconds = step_seconds(made, LATENT, lambda made=made, seen=weights: seen.append(held(made)))
                what = _words(kind, f", {name}")
                result.append(Case(f"step of {what} vs {RESIDENT}", seconds, resident, "s", SPEED, PART))
                megabytes = max(weights) / 1e6
                result.append(Case(f"VRAM of {what} vs the budget", megabytes, BUDGET_GB * 1e3, "MB", MEMORY, PART))
            del model, made, patcher
            comfy.model_management.unload_all_models()
    return result


def why_not(effort: Effort) -> str | None:
    """Why there is nothing to measure, or None."""
    if default_device().type == "cpu":
        return "needs a GPU: what computes on the CPU has nowhere to move to"
    if effort.quick:
        return "takes minutes: leave --quick out"
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < DISK_BYTES:
        return f"needs {DISK_BYTES / 1e9:.0f} GB of free disk, there are {free / 1e9:.1f}"
    return None


def patchers(model) -> dict[str, object]:
    """How core can hold the model."""
    if not model.is_dynamic():
        return {"without dynamic VRAM": model}
    return {"dynamic VRAM": model, "without dynamic VRAM": model.clone(disable_dynamic=True)}


def step_seconds(model, latent: tuple[int, ...], after_step=lambda: None) -> float:
    """Median seconds of a step but the first, which loads and warms up. after_step: called behind each, untimed."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(latent, generator=generator)
    prompt = [[torch.randn((1, 512, models.TEXT_WIDTH), generator=generator), {}]]
    begun, seconds = time.perf_counter(), []

    def tell(*_) -> None:
        nonlocal begun
        comfy.model_management.synchronize()
        seconds.append(time.perf_counter() - begun)
        after_step()
        begun = time.perf_counter()

    comfy.sample.sample(
        model,
        noise,
        STEPS,
        1.0,
        "euler",
        "simple",
        prompt,
        prompt,
        torch.zeros(latent),
        disable_pbar=True,
        seed=0,
        callback=tell,
    )
    return statistics.median(seconds[1:])


def held(model) -> int:
    """Bytes of device memory that the model's weights take: those that stay, and the buffers of those that stream."""
    from comfy.patcher_extension import WrappersMP

    from ..runtime.offload.apply import KEY

    streaming = model.wrappers.get(WrappersMP.APPLY_MODEL, {}).get(KEY, [])
    return model.loaded_size() + sum(getattr(wrapper, "device_bytes", 0) for wrapper in streaming)


def _words(kind: str, how: str) -> str:
    return f"{kind} Wan 14B, 832x480x81, blocks in {BUDGET_GB:g} GB{how}"
