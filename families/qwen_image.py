"""Qwen-Image, whose names are the same in diffusers, LightX2V and ComfyUI."""

from .family import DIT, plain

QWEN_IMAGE = plain(
    DIT, "Qwen-Image", r"transformer_blocks\.\d+\.img_mod\.1\.", r"transformer_blocks\.\d+\.attn\.add_q_proj\."
)
