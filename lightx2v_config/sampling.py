"""LightX2V's sampling keys as settings of core's samplers."""

import torch

from .config import Config
from .sigmas import TRAINING_STEPS, distilled, shifted

DEFAULT_BOUNDARY = 0.875
# the keys that are read here, beside EXPERT_KEYS
KEYS = (
    "infer_steps",
    "denoising_step_list",
    "sample_shift",
    "enable_cfg",
    "sample_guide_scale",
    "cfg_scale",
)


def is_simple(step_list: list[int]) -> bool:
    """Whether these are the steps of core's scheduler `simple`."""
    return step_list == [TRAINING_STEPS - i * TRAINING_STEPS // len(step_list) for i in range(len(step_list))]


def switch_step(config: Config, steps: int, shift: float) -> int:
    """The first step of the low-noise expert: the first whose sigma is below the boundary."""
    boundary = config.get("boundary", (int, float), DEFAULT_BOUNDARY)
    return sum(shifted(1 - step / steps, shift) >= boundary for step in range(steps))


def sampling_lines(config: Config, experts: bool) -> list[str]:
    """Lines on what to set in the graph. experts: whether the model has two. Raises ConfigError."""
    shift = config.get("sample_shift", (int, float))
    step_list = _step_list(config)
    steps = len(step_list) or config.get("infer_steps", int)
    lines = [] if shift is None else [f"ModelSamplingSD3{' on both MODELs' if experts else ''}: shift {shift:g}"]
    sampler = "KSamplerAdvanced" if experts else "KSampler"
    settings = [] if steps is None else [f"steps {steps}"]
    if step_list and is_simple(step_list):
        settings += ["sampler_name euler", "scheduler simple"]
    lines += [f"{sampler}: {', '.join([*settings, *_guidance(config, experts)])}"]
    if step_list and shift is not None:
        sigmas = ", ".join(f"{sigma:.8g}" for sigma in distilled(step_list, shift, torch.float64).tolist())
        which = "the same schedule" if is_simple(step_list) else "instead of a scheduler"
        listed = ", ".join(map(str, step_list))
        lines += [
            f"Distilled Sigmas (step list {listed}; shift {shift:g}) with SamplerCustomAdvanced and euler, "
            f"{which}: {sigmas}"
        ]
    if experts and steps is not None:
        switch = config.get("boundary_step_index", int) if step_list else switch_step(config, steps, shift or 1.0)
        lines += [
            f"KSamplerAdvanced on the high-noise MODEL: add_noise enable, start_at_step 0, end_at_step {switch}, "
            "return_with_leftover_noise enable",
            f"KSamplerAdvanced on the low-noise MODEL, after it: add_noise disable, start_at_step {switch}, "
            f"end_at_step {steps}, return_with_leftover_noise disable",
        ]
    return lines


def _step_list(config: Config) -> list[int]:
    steps = config.get("denoising_step_list", list, [])
    if not all(isinstance(step, int) and 0 < step <= TRAINING_STEPS for step in steps):
        raise config.error("denoising_step_list", f"is {steps}", f"It has training steps from {TRAINING_STEPS} down.")
    return steps


def _guidance(config: Config, experts: bool) -> list[str]:
    if not config.on("enable_cfg"):
        return ["cfg 1"]
    scale = config.get("sample_guide_scale", (int, float, list), config.get("cfg_scale", (int, float)))
    if isinstance(scale, list) and len(scale) == 2 and experts:
        return [f"cfg {scale[0]:g} for the high-noise MODEL, {scale[1]:g} for the low-noise one"]
    if isinstance(scale, list):
        scale = scale[0] if scale else None
    return [] if scale is None else [f"cfg {scale:g}"]
