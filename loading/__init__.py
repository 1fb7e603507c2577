"""Checkpoint + scheme -> what core passes around: ModelPatcher, CLIP, CLIP_VISION."""
