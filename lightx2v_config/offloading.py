"""LightX2V's offload keys as OffloadSettings."""

from ..runtime.offload import AUTO, BLOCK, DISK, MODEL, PHASE, OffloadSettings
from .config import Config

GRANULARITIES = {"block": BLOCK, "phase": PHASE, "model": MODEL}
DEFAULT_GRANULARITY = "block"


def offload_settings(config: Config) -> OffloadSettings:
    """The settings that the configuration asks for. Without `cpu_offload` LightX2V keeps everything on the GPU; ComfyUI
    does the same where it fits. Encoders follow `cpu_offload` unless they have their own key. Raises ConfigError."""
    offloaded = config.on("cpu_offload")
    # drops each model after its use, which is what "model" does
    idle = MODEL if config.on("unload_modules") else AUTO
    mode = _granularity(config) if offloaded else idle
    return OffloadSettings(
        mode=DISK if config.on("lazy_load") else mode,
        t5=DISK if config.on("t5_lazy_load") else MODEL if config.on("t5_cpu_offload", offloaded) else idle,
        clip=MODEL if config.on("clip_cpu_offload", offloaded) else idle,
    )


def _granularity(config: Config) -> str:
    name = config.get("offload_granularity", str, DEFAULT_GRANULARITY)
    if name not in GRANULARITIES:
        known = ", ".join(GRANULARITIES)
        raise config.error("offload_granularity", f"is {name!r}", f"LightX2V knows {known}.")
    return GRANULARITIES[name]
