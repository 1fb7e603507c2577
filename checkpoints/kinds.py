"""What model a set of tensor names belongs to."""

import re
from collections.abc import Iterable

from .add_ons import WITH_BLOCKS
from .family import CLIP_VISION, DIT, T5, UNKNOWN, Companion, Family, Variant
from .other_models import OTHER_MODELS

# kind -> (our node, core's node, what they take, the folder of models that both list)
LOADERS = {
    DIT: ("Load Quantized DiT", "Load Diffusion Model", "a diffusion model", "diffusion_models"),
    T5: ("Load Quantized T5", "Load CLIP", "a umt5 text encoder", "text_encoders"),
    CLIP_VISION: ("Load Quantized CLIP", "Load CLIP Vision", "a CLIP vision encoder", "clip_vision"),
}

# longest first: the second one ends the first
PREFIXES = ("model.diffusion_model.", "diffusion_model.")
# those that core takes off
CORES_PREFIXES = ("", PREFIXES[0])


WAN_VARIANTS = (
    Variant("Wan 2.1 VACE", "vace_patch_embedding.weight"),
    Variant("Wan camera control", "control_adapter.conv.weight"),
    Variant("Wan 2.2 s2v", "casual_audio_encoder.encoder.final_linear.weight"),
    Variant("Wan HuMo", "audio_proj.audio_proj_glob_1.layer.bias"),
    Variant("Wan 2.2 animate", "face_adapter.fuser_blocks.0.k_norm.weight"),
    Variant("Wan SCAIL 2", "patch_embedding_mask.weight"),
    Variant("Wan SCAIL", "patch_embedding_pose.weight"),
    Variant("WanDancer", "patch_embedding_global.weight"),
    Variant("Wan 2.1 flf2v", "img_emb.emb_pos"),
    Variant("Wan 2.1 i2v", "img_emb.proj.0.bias"),
    Variant("Wan 2.2 5B", "head.head.weight", 0, 4 * 48),
    Variant("Wan 2.2 i2v", "patch_embedding.weight", 1, 36),
)

HUNYUAN_VARIANTS = (
    Variant("HunyuanVideo 1.5", "cond_type_embedding.weight"),
    Variant("HunyuanVideo 1.5", "vision_in.proj.0.weight"),
)

# the only two texts that it is asked with, encoded
SEEDVR2_TEXTS = (
    Companion("positive_conditioning", "pos_emb.pt", (58, 5120), "ByteDance-Seed/SeedVR2-3B"),
    Companion("negative_conditioning", "neg_emb.pt", (64, 5120), "ByteDance-Seed/SeedVR2-3B"),
)

# beside Wan: those of LightX2V's that ComfyUI has; the more special one first
OTHER_DITS = (
    Family(
        DIT, "Qwen-Image", (r"transformer_blocks\.\d+\.img_mod\.1\.", r"transformer_blocks\.\d+\.attn\.add_q_proj\.")
    ),
    Family(
        DIT,
        "Z-Image (diffusers names)",
        (r"noise_refiner\.\d+\.attention\.to_k\.", r"all_final_layer\.2-1\."),
        joins="z-image",
    ),
    Family(
        DIT,
        "Z-Image",
        (r"noise_refiner\.\d+\.attention\.qkv\.", r"layers\.\d+\.adaLN_modulation\."),
        # an activation before it in Lumina 2
        (Variant("Lumina 2", "layers.0.adaLN_modulation.1.weight"),),
    ),
    Family(
        DIT,
        "HunyuanVideo",
        (r"txt_in\.individual_token_refiner\.", r"double_blocks\.\d+\.img_attn_q\."),
        HUNYUAN_VARIANTS,
        joins="hunyuan-video",
        core_reads=False,
    ),
    Family(DIT, "HunyuanVideo", (r"txt_in\.individual_token_refiner\.",), HUNYUAN_VARIANTS, joins="hunyuan-video"),
    Family(
        DIT,
        "Flux (diffusers names)",
        (r"single_transformer_blocks\.\d+\.", r"transformer_blocks\.\d+\.attn\.add_q_proj\.", r"x_embedder\.weight$"),
        (
            Variant("Flux.2 (diffusers names)", "double_stream_modulation_img.linear.weight"),
            Variant("LongCat-Image (diffusers names)", "time_embed.timestep_embedder.linear_1.weight"),
        ),
        joins="flux",
        core_reads=False,  # not all of them
    ),
    Family(
        DIT,
        "Flux",
        (r"double_blocks\.\d+\.img_attn\.qkv\.", r"single_blocks\.\d+\.linear1\."),
        (
            Variant("Flux.2", "double_stream_modulation_img.lin.weight"),
            Variant("Chroma", "distilled_guidance_layer.in_proj.weight"),
            # the width of its text encoder, which no other has
            Variant("LongCat-Image", "txt_in.weight", 1, 3584),
        ),
        joins="flux-original",
    ),
    Family(
        DIT,
        "LTX-2",
        (r"transformer_blocks\.\d+\.audio_attn1\.to_q\.",),
        beside=("vae.", "audio_vae.", "vocoder.", "text_embedding_projection."),
    ),
    Family(DIT, "LTX-Video", (r"transformer_blocks\.\d+\.attn1\.to_q\.", r"patchify_proj\.", r"adaln_single\.")),
    Family(
        DIT,
        "MiniMax-H3 (diffusers names)",
        (r"token_refiner\.refiner_blocks\.\d+\.", r"transformer_blocks\.\d+\.adaln_proj\."),
        joins="minimax-h3",
        core_reads=False,
    ),
    Family(
        DIT,
        "MiniMax-H3",
        (r"token_refiner\.blocks\.\d+\.", r"blocks\.\d+\.adaln_proj\."),
        # ComfyUI's edition with a table in place of the time embedder, which LightX2V does not have
        (Variant("MiniMax-H3 (pruned)", "adaln_t_table"),),
    ),
    Family(DIT, "SeedVR2", (r"blocks\.\d+\.attn\.proj_qkv\.(vid|all)\.", r"vid_in\.proj\."), companions=SEEDVR2_TEXTS),
    Family(DIT, "Ernie-Image", (r"layers\.\d+\.self_attention\.to_q\.", r"layers\.\d+\.adaLN_sa_ln\.")),
)

FAMILIES = (
    *WITH_BLOCKS,
    Family(
        DIT,
        "Wan 2.1 t2v",  # the experts of Wan 2.2 t2v have the very same names and shapes
        (r"head\.modulation$", r"blocks\.\d+\.self_attn\.q\.weight$"),
        WAN_VARIANTS,
    ),
    Family(
        DIT,
        "Wan 2.1 t2v (diffusers names)",
        (r"blocks\.\d+\.attn1\.to_q\.weight$", r"condition_embedder\.", r"scale_shift_table$"),
        (
            Variant("Wan 2.1 VACE (diffusers names)", "vace_patch_embedding.weight"),
            Variant("Wan 2.1 i2v (diffusers names)", "condition_embedder.image_embedder.norm1.weight"),
        ),
        names="wan-diffusers",
        core_reads=False,
    ),
    *OTHER_DITS,
    Family(
        T5,
        "umt5 encoder",
        (r"token_embedding\.weight$", r"blocks\.\d+\.pos_embedding\.embedding\.weight$"),
        names="wan-t5",
        core_reads=False,
    ),
    Family(
        T5,
        "umt5 encoder",
        (r"encoder\.block\.[1-9]\d*\.layer\.0\.SelfAttention\.relative",),
        names="hf-t5",
        tied={"shared": ("encoder.embed_tokens", "decoder.embed_tokens", "lm_head")},
    ),
    Family(
        CLIP_VISION,
        "CLIP ViT vision encoder (XLM-R)",
        (r"visual\.transformer\.\d+\.attn\.to_qkv\.weight$",),
        names="xlm-r",
        core_reads=False,
    ),
    Family(
        CLIP_VISION,
        "CLIP ViT vision encoder",
        (r"vision_model\.embeddings\.class_embedding$", r"vision_model\.encoder\.layers\.\d+\.self_attn\.q_proj\."),
        names="hf-clip",
    ),
    *OTHER_MODELS,
)

UNKNOWN_DIT = Family(DIT, "unknown DiT", ())
UNRECOGNISED = Family(
    UNKNOWN,
    "not a model that is known here",
    (),
    elsewhere="The loaders here take diffusion models such as Wan's, umt5 and CLIP vision encoders: pick one, or try "
    "ComfyUI's own loaders.",
)


def find_prefix(keys) -> str:
    """The prefix that a whole ComfyUI checkpoint puts before its diffusion model's names, "" without one."""
    return next((prefix for prefix in PREFIXES if any(key.startswith(prefix) for key in keys)), "")


def identify(shapes: dict[str, tuple[int, ...]], quantized: bool) -> tuple[Family, str]:
    """Names without their prefix -> (family, model in words). quantized: there are quantized linear layers, which
    makes a model that no row describes a diffusion model."""
    family = recognise(shapes)
    if family is not None:
        return family, next((v.model for v in family.variants if _is(v, shapes)), family.model)
    return (UNKNOWN_DIT, UNKNOWN_DIT.model) if quantized else (UNRECOGNISED, UNRECOGNISED.model)


def recognise(names: Iterable[str]) -> Family | None:
    """The family of names without their prefix, None for one that has no row."""
    text = one_text(names)
    return next((family for family in FAMILIES if not missing_signs(family, text)), None)


def one_text(names: Iterable[str]) -> str:
    """What `begins` looks through, for many signs."""
    return "".join(f"\n{name}" for name in names)


def begins(sign: str, text: str) -> bool:
    """Whether the pattern is what one of the names of `one_text` begins with. A line end is looked for ten times faster
    than a pattern."""
    return re.search(f"\n(?:{sign})", text, re.MULTILINE) is not None


def missing_signs(family: Family, text: str) -> list[str]:
    """Those of a family's signs that begin none of the names of `one_text`."""
    return [sign for sign in family.signs if not begins(sign, text)]


def _is(variant: Variant, shapes: dict[str, tuple[int, ...]]) -> bool:
    shape = shapes.get(variant.name)
    if shape is None or variant.axis is None:
        return shape is not None
    return len(shape) > variant.axis and shape[variant.axis] == variant.size
