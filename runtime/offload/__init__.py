"""Where weights wait: steers ComfyUI's own memory management, and streams blocks where it does not."""

from .settings import AUTO, BLOCK, DISK, ENCODER_MODES, MODEL, MODES, PHASE, OffloadSettings

__all__ = ["AUTO", "BLOCK", "DISK", "ENCODER_MODES", "MODEL", "MODES", "PHASE", "OffloadSettings"]
