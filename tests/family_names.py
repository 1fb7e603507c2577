"""ComfyUI's names of other families than Wan -> LightX2V's: by core's own tables, read backwards, where core has one,
and by the rows of BACK for the rest."""

import re

import torch

HUNYUAN_BACK = (
    (r"_(attn)\.(proj)\.", r"_\1_\2."),
    (r"_attn\.norm\.(query|key)_norm\.", lambda hit: f"_attn_{hit[1][0]}_norm."),
    (r"^(single_blocks\.\d+)\.norm\.(query|key)_norm\.", lambda hit: f"{hit[1]}.{hit[2][0]}_norm."),
    (r"(_mod|modulation)\.lin\.", r"\1.linear."),
    (r"mlp\.0\.", "mlp.fc1."),
    (r"mlp\.2\.", "mlp.fc2."),
    (r"txt_in\.c_embedder\.in_layer", "txt_in.c_embedder.linear_1"),
    (r"txt_in\.c_embedder\.out_layer", "txt_in.c_embedder.linear_2"),
    (r"^(time_in|guidance_in|txt_in\.t_embedder)\.in_layer", r"\1.mlp.0"),
    (r"^(time_in|guidance_in|txt_in\.t_embedder)\.out_layer", r"\1.mlp.2"),
    (r"self_attn\.qkv\.", "self_attn_qkv."),
)
# ComfyUI's names -> LightX2V's, by what core has no table for
BACK = {
    "flux": (),
    "flux 2": (
        (r"_modulation(_img|_txt)?\.lin\.", r"_modulation\1.linear."),
        (r"^time_in\.", "time_guidance_embed.timestep_embedder."),
        (r"^guidance_in\.", "time_guidance_embed.guidance_embedder."),
        (r"embedder\.in_layer", "embedder.linear_1"),
        (r"embedder\.out_layer", "embedder.linear_2"),
    ),
    "longcat": (
        (r"^time_in\.in_layer", "time_embed.timestep_embedder.linear_1"),
        (r"^time_in\.out_layer", "time_embed.timestep_embedder.linear_2"),
    ),
    "hunyuan 1.5": HUNYUAN_BACK,
    "hunyuan": ((r"_attn\.qkv\.", "_attn_qkv."), *HUNYUAN_BACK),
    "minimax-h3": (
        (r"^(token_refiner\.)blocks\.", r"\1refiner_blocks."),
        (r"^blocks\.", "transformer_blocks."),
        (r"attn\.(q|k)_norm\.", r"attn.norm_\1."),
        (r"attn\.out_proj\.", "attn.to_out.0."),
        (r"mlp\.fc1\.", "ff.net.0.proj."),
        (r"mlp\.fc2\.", "ff.net.2."),
        (r"^time_embedder\.proj_in\.", "time_embedder.linear_1."),
        (r"^time_embedder\.proj_out\.", "time_embedder.linear_2."),
        (r"^video_patch_proj\.", "proj_in."),
        (r"^audio_patch_proj\.", "audio_proj_in."),
        (r"^condition_proj\.", "context_embedder."),
        (r"^final_layer\.norm\.", "norm_out.norm."),
        (r"^final_layer\.adaln_proj\.", "norm_out."),
        (r"^final_layer\.video_out\.", "proj_out."),
        (r"^final_layer\.audio_out\.", "audio_proj_out."),
    ),
}
NEVER = r"$^"
# family -> a layer of ComfyUI's that LightX2V has in three, and their names
FUSED = {
    "hunyuan 1.5": (r"^(double_blocks\..*_attn)\.qkv\.", r"\1_{}."),
    "minimax-h3": (r"^(.*\.attn)\.qkv_proj\.", r"\1.to_{}."),
}
# what in ComfyUI is silu(first half) * second half, and in diffusers first half * silu(second half)
GATED = {"minimax-h3": r"\.mlp\.fc1\."}
# of two names that core's table has for one tensor, those that this family's files do not have
OF_FLUX_2 = r"linear_(in|out)|to_qkv_mlp_proj|^single_.*attn\.to_out"
OF_FLUX_1 = r"\.net\.|^single_.*(proj_mlp|proj_out|attn\.to_[qkv]\.)|^time_text_embed"


def flux_table(arguments: dict) -> dict:
    from comfy.utils import flux_to_diffusers

    return flux_to_diffusers(arguments)


def z_image_table(arguments: dict) -> dict:
    from comfy.utils import z_image_to_diffusers

    return z_image_to_diffusers(arguments)


def no_table(arguments: dict) -> dict:
    return {}


def apart(name: str, ours: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """A tensor of ComfyUI's as LightX2V has it: in three, or with its halves the other way round."""
    layer, theirs = FUSED.get(name, (NEVER, ""))
    if re.search(layer, ours):
        parts = zip("qkv", tensor.chunk(3), strict=True)
        return {re.sub(layer, theirs.format(one), ours): part for one, part in parts}
    return {ours: torch.cat(tensor.chunk(2)[::-1]) if re.search(GATED.get(name, NEVER), ours) else tensor}
