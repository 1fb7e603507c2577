"""Qwen-Image, whose names are the same in diffusers, LightX2V and ComfyUI."""

from .family import DIT, Family, Naming, SharingModule, Variant

QWEN_IMAGE = Family(
    DIT,
    (
        Naming(
            (r"transformer_blocks\.\d+\.img_mod\.1\.", r"transformer_blocks\.\d+\.attn\.add_q_proj\."),
            (Variant("Qwen-Image"),),
        ),
    ),
    name="Qwen-Image",
    takes=(
        r"transformer_blocks\.\d+\.attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)",
        r"transformer_blocks\.\d+\.(img|txt)_mlp\.net\.(0\.proj|2)",
        r"transformer_blocks\.\d+\.(img|txt)_mod\.1",
    ),
    file_names=("qwen.?image", "firered.image"),
    phases=("attn", "img_mlp", "txt_mlp"),
    sharing=(
        # each stream goes to three layers, whose outputs are viewed and copied; norms and patches come after all six
        SharingModule(
            "comfy.ldm.qwen_image.model:Attention.forward",
            (("to_q", "to_k", "to_v"), ("add_q_proj", "add_k_proj", "add_v_proj")),
            ("ce2c8c4ec3cb",),
        ),
    ),
)
