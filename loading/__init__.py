"""Checkpoint + scheme -> what core passes around: ModelPatcher, CLIP, CLIP_VISION."""

from .clip_vision import load_clip_vision
from .dit import load_dit
from .t5 import load_t5

__all__ = ["load_clip_vision", "load_dit", "load_t5"]
