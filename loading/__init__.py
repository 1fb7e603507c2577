"""Loads a checkpoint with a scheme as core's ModelPatcher, CLIP or CLIP_VISION."""
