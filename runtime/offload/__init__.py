"""Offloading: settings for ComfyUI's own memory management, and block streaming where ComfyUI has none."""

from .settings import AUTO, BLOCK, DISK, ENCODER_MODES, MODEL, MODES, PHASE, OffloadSettings

__all__ = ["AUTO", "BLOCK", "DISK", "ENCODER_MODES", "MODEL", "MODES", "PHASE", "OffloadSettings"]
