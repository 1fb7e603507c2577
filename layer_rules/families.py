"""The table of model families: how each is told, and which of its layers are quantized.

Names are those of ComfyUI's own modules; where LightX2V's files or diffusers call the same layers otherwise, those
stand beside them, so that the same layers are taken whatever the file calls them. The sets are LightX2V's wherever it
has one, so that a file travels both ways; where its engine multiplies output layers or embedders quantized too, which
costs the most and saves the least, they are kept but for a file in its dialect.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..families.recognise import begins, one_text


@dataclass(frozen=True)
class Family:
    """`signs`: patterns each of which begins the name of some tensor. `takes`: whole names of the layers that are
    quantized. `keeps`: (whole name, reason), for some of those and for others whose reason the name does not tell.
    `lightx2v_also`: whole names, as LightX2V has them, of layers that its engine has no unquantized way for."""

    name: str
    signs: tuple[str, ...]
    takes: tuple[str, ...]
    keeps: tuple[tuple[str, str], ...] = ()
    lightx2v_also: tuple[str, ...] = ()

    def why_kept(self, name: str) -> str | None:
        """The reason of the first row of `keeps` for this layer; None if there is none."""
        return next((reason for pattern, reason in self.keeps if re.fullmatch(pattern, name)), None)

    def quantizes(self, name: str) -> bool:
        return self.why_kept(name) is None and any(re.fullmatch(pattern, name) for pattern in self.takes)


ONLY_LIGHTX2V = "only files in LightX2V's dialect have it quantized"

# blocks of two streams and of one, as Flux and HunyuanVideo have them, in ComfyUI's names and in diffusers'
DOUBLE = r"double_blocks\.\d+\.(img|txt)_(attn\.(qkv|proj)|mlp\.[02]|mod\.lin)"
SINGLE = r"single_blocks\.\d+\.(linear[12]|modulation\.lin)"
DIFFUSERS_DOUBLE = (
    r"transformer_blocks\.\d+\.(attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)"
    r"|ff(_context)?\.net\.(0\.proj|2)|norm1(_context)?\.linear)"
)
DIFFUSERS_SINGLE = r"single_transformer_blocks\.\d+\.(attn\.to_[qkv]|proj_mlp|proj_out|norm\.linear)"
FLUX = (
    DOUBLE,
    SINGLE,
    DIFFUSERS_DOUBLE,
    DIFFUSERS_SINGLE,
    # Flux.2 in diffusers
    r"transformer_blocks\.\d+\.ff(_context)?\.linear_(in|out)",
    r"single_transformer_blocks\.\d+\.attn\.(to_qkv_mlp_proj|to_out)",
)

LTX_ATTENTION = r"(to_[qkv]|to_out\.0)"

MINIMAX_H3_BLOCK = r"blocks\.\d+\.(attn\.(qkv_proj|out_proj)|mlp\.fc[12])"
MINIMAX_H3_KEPT = (
    (r"token_refiner\..+", "prepares the text"),
    (r"final_layer\..+", "is an output layer"),
    (r"(video|audio)_patch_proj", "embeds an input"),
)

# the first whose signs are there; the more special one first
DIFFUSION_MODELS = (
    Family(
        "Wan",
        (r"(head\.modulation$|condition_embedder\.)", r"blocks\.\d+\.(self_attn\.q|attn1\.to_q)\."),
        (
            r"(vace_)?blocks\.\d+\.(self|cross)_attn\.[qkvo]",
            r"blocks\.\d+\.cross_attn\.[kv]_img",
            r"(vace_)?blocks\.\d+\.ffn\.[02]",
            # diffusers
            r"(vace_)?blocks\.\d+\.attn[12]\.(to_[qkv]|to_out\.0)",
            r"blocks\.\d+\.attn2\.add_[kv]_proj",
            r"(vace_)?blocks\.\d+\.ffn\.net\.(0\.proj|2)",
        ),
        (
            (r"vace_blocks\.\d+\.((before|after)_proj|proj_(in|out))", "joins VACE's blocks to the model's"),
            (r"blocks\.\d+\.audio_cross_attn_wrapper\..+", "is part of the audio adapter"),
            (r"(casual_audio_encoder|audio_injector|audio_proj)\..+", "is part of the audio adapter"),
            (r"(music_injector|music_encoder|music_projection)(\..+)?", "is part of the music adapter"),
            (r"(face_adapter|face_encoder)\..+", "is part of the face adapter"),
        ),
    ),
    Family(
        "Qwen-Image",
        (r"transformer_blocks\.\d+\.img_mod\.1\.", r"transformer_blocks\.\d+\.attn\.add_q_proj\."),
        (
            r"transformer_blocks\.\d+\.attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)",
            r"transformer_blocks\.\d+\.(img|txt)_mlp\.net\.(0\.proj|2)",
            r"transformer_blocks\.\d+\.(img|txt)_mod\.1",
        ),
    ),
    Family(
        "Z-Image (Lumina 2)",
        (r"layers\.\d+\.adaLN_modulation\.", r"context_refiner\.\d+\.attention\."),
        (
            r"(layers|(noise|context|siglip)_refiner)\.\d+\.attention\.(qkv|out)",
            r"(layers|(noise|context|siglip)_refiner)\.\d+\.feed_forward\.w[123]",
            r"(layers|noise_refiner)\.\d+\.adaLN_modulation\.[01]",
            # diffusers and LightX2V
            r"(layers|(noise|context|siglip)_refiner)\.\d+\.attention\.(to_[qkv]|to_out\.0)",
        ),
        (
            (r"(all_)?final_layer\..+", f"is the output layer; {ONLY_LIGHTX2V}"),
            (r"dec_net\..+", "is part of the pixel decoder"),
        ),
        (r"all_final_layer\.[^.]+\.(linear|adaLN_modulation\.1)",),
    ),
    Family(
        "HunyuanVideo",
        (r"(txt_in\.individual_token_refiner|context_embedder\.token_refiner)\.",),
        (
            DOUBLE,
            SINGLE,
            # the model's own names and LightX2V's
            r"double_blocks\.\d+\.(img|txt)_(attn_(qkv|q|k|v|proj)|mlp\.fc[12]|mod\.linear)",
            r"single_blocks\.\d+\.modulation\.linear",
            DIFFUSERS_DOUBLE,
            DIFFUSERS_SINGLE,
        ),
        (
            (r"(txt_in|context_embedder|byt5_in|context_embedder_2)\..+", "prepares the text"),
            (r"(vision_in|image_embedder)\..+", "prepares the picture"),
        ),
    ),
    Family(
        "Flux.2",
        (r"double_stream_modulation_img\.",),
        FLUX,
        (
            (r"(double|single)_stream_modulation(_img|_txt)?\..+", f"modulates every block; {ONLY_LIGHTX2V}"),
            (r"(final_layer\..+|proj_out|norm_out\.linear)", f"is an output layer; {ONLY_LIGHTX2V}"),
            (r"(img_in|txt_in|x_embedder|context_embedder)", f"embeds an input; {ONLY_LIGHTX2V}"),
            (r"((time|guidance)_in|time_guidance_embed)\..+", f"embeds an input; {ONLY_LIGHTX2V}"),
        ),
        (
            r"(double_stream_modulation_(img|txt)|single_stream_modulation)\.linear",
            r"proj_out|norm_out\.linear|x_embedder|context_embedder",
            r"time_guidance_embed\.(timestep|guidance)_embedder\.linear_[12]",
        ),
    ),
    # under ComfyUI's names it is told as Flux, which has the same layers
    Family(
        "LongCat-Image",
        (r"time_embed\.timestep_embedder\.", r"single_transformer_blocks\.\d+\.proj_mlp\."),
        (DIFFUSERS_DOUBLE, DIFFUSERS_SINGLE),
        (
            (r"proj_out|norm_out\.linear", f"is an output layer; {ONLY_LIGHTX2V}"),
            (r"x_embedder|context_embedder|time_embed\..+", f"embeds an input; {ONLY_LIGHTX2V}"),
        ),
        (r"proj_out|norm_out\.linear|x_embedder|context_embedder|time_embed\.timestep_embedder\.linear_[12]",),
    ),
    Family(
        "Flux",
        (
            r"(double_blocks\.\d+\.img_attn\.qkv|transformer_blocks\.\d+\.attn\.add_q_proj)\.",
            r"(single_blocks\.\d+\.linear1|single_transformer_blocks\.\d+\.proj_mlp)\.",
        ),
        (*FLUX, r"double_blocks\.\d+\.(img|txt)_mlp\.(gate|up|down)_proj"),
        (
            (r"(final_layer\..+|proj_out|norm_out\.linear)", "is an output layer"),
            (r"(img_in|txt_in|x_embedder|context_embedder)", "embeds an input"),
            (r"((time|guidance|vector)_in|time_text_embed)\..+", "embeds an input"),
            (r"distilled_guidance_layer\..+", "makes the modulation of every block"),
        ),
    ),
    Family(
        "LTX-2",
        (r"transformer_blocks\.\d+\.audio_attn1\.to_q\.",),
        (
            rf"transformer_blocks\.\d+\.(audio_)?attn[12]\.{LTX_ATTENTION}",
            rf"transformer_blocks\.\d+\.(audio_to_video|video_to_audio)_attn\.{LTX_ATTENTION}",
            r"transformer_blocks\.\d+\.(audio_)?ff\.net\.(0\.proj|2)",
        ),
        (
            (r"transformer_blocks\.(0|4[3-7])\..+", "is in one of the blocks that LightX2V leaves alone: 0, 43 to 47"),
            (r"transformer_blocks\.\d+\..+\.to_gate_logits", "is a gate: one row per head"),
        ),
    ),
    Family(
        "Ernie-Image",
        (r"layers\.\d+\.self_attention\.to_q\.", r"layers\.\d+\.adaLN_sa_ln\."),
        (r"layers\.\d+\.self_attention\.(to_[qkv]|to_out\.0)", r"layers\.\d+\.mlp\.(gate_proj|up_proj|linear_fc2)"),
        (
            (r"final_linear|final_norm\.linear", f"is an output layer; {ONLY_LIGHTX2V}"),
            (r"adaLN_modulation\.1", f"modulates every block; {ONLY_LIGHTX2V}"),
            (r"text_proj|time_embedding\.linear_[12]", f"embeds an input; {ONLY_LIGHTX2V}"),
        ),
        (r"final_linear|final_norm\.linear|adaLN_modulation\.1|text_proj|time_embedding\.linear_[12]",),
    ),
    Family(
        "MiniMax-H3 (pruned)",
        (r"adaln_t_table$", r"blocks\.\d+\.adaln_proj\."),
        (MINIMAX_H3_BLOCK,),
        (
            *MINIMAX_H3_KEPT,
            (r"blocks\.\d+\.adaln_proj\.linear", "has a few inputs, and ComfyUI has it in float32"),
        ),
    ),
    Family(
        "MiniMax-H3",
        (r"token_refiner\.(refiner_)?blocks\.\d+\.", r"(transformer_)?blocks\.\d+\.adaln_proj\."),
        (
            MINIMAX_H3_BLOCK,
            r"(transformer_)?blocks\.\d+\.adaln_proj\.linear",
            # diffusers and LightX2V
            r"transformer_blocks\.\d+\.(attn\.(to_[qkv]|to_out\.0)|ff\.net\.(0\.proj|2))",
        ),
        (*MINIMAX_H3_KEPT, (r"(audio_)?proj_out|norm_out\.linear", "is an output layer")),
    ),
    Family(
        "SeedVR2",
        (r"blocks\.\d+\.attn\.proj_qkv\.(vid|all)\.", r"vid_in\.proj\."),
        (
            r"blocks\.\d+\.attn\.proj_(qkv|out)\.(vid|txt|all)",
            r"blocks\.\d+\.mlp\.(vid|txt|all)\.proj_(in_gate|in|out)",
        ),
        ((r"vid_out\.proj", "is an output layer"), (r"vid_in\.proj", "embeds an input")),
    ),
    Family(
        "LTX-Video",
        (r"transformer_blocks\.\d+\.attn1\.to_q\.", r"(patchify_proj|proj_in)\.", r"adaln_single\.|time_embed\."),
        (
            rf"transformer_blocks\.\d+\.attn[12]\.{LTX_ATTENTION}",
            r"transformer_blocks\.\d+\.ff\.net\.(0\.proj|2)",
        ),
    ),
)

# ComfyUI bundles several text encoders in one CLIP and puts a name before each: all whose signs are there
ENCODERS = (
    Family(
        "T5",
        (
            r"(.+\.)?(encoder\.block\.\d+\.layer\.0\.SelfAttention\.q\.weight"
            r"|blocks\.\d+\.pos_embedding\.embedding\.weight)$",
        ),
        (
            r"(.+\.)?encoder\.block\.\d+\.layer\.0\.SelfAttention\.[qkvo]",
            r"(.+\.)?encoder\.block\.\d+\.layer\.1\.DenseReluDense\.w(i|i_0|i_1|o)",
            # Wan's file of umt5
            r"blocks\.\d+\.attn\.[qkvo]",
            r"blocks\.\d+\.ffn\.(gate\.0|fc1|fc2)",
        ),
    ),
    Family(
        "CLIP vision",
        (
            r"(.+\.)?(vision_model\.encoder\.layers\.\d+\.self_attn\.q_proj|visual\.transformer\.\d+\.attn\.to_qkv)"
            r"\.weight$",
        ),
        (
            r"(.+\.)?vision_model\.encoder\.layers\.\d+\.self_attn\.(q|k|v|out)_proj",
            r"(.+\.)?vision_model\.encoder\.layers\.\d+\.mlp\.fc[12]",
            # Wan's file of open-clip XLM-R
            r"visual\.transformer\.\d+\.attn\.(to_qkv|proj)",
            r"visual\.transformer\.\d+\.mlp\.[02]",
        ),
    ),
    Family(
        "CLIP text",
        (r"(.+\.)?text_model\.encoder\.layers\.\d+\.self_attn\.q_proj\.weight$",),
        (
            r"(.+\.)?text_model\.encoder\.layers\.\d+\.self_attn\.(q|k|v|out)_proj",
            r"(.+\.)?text_model\.encoder\.layers\.\d+\.mlp\.fc[12]",
        ),
    ),
    Family(
        "language model",
        (r"(.+\.)?(model|language_model)\.layers\.\d+\.self_attn\.q_proj\.weight$",),
        (
            r"(.+\.)?(model|language_model)\.layers\.\d+\.self_attn\.[qkvo]_proj",
            r"(.+\.)?(model|language_model)\.layers\.\d+\.mlp\.(gate|up|down)_proj",
        ),
        ((r"(.+\.)?visual\..+", "is part of the picture encoder, which LightX2V leaves alone"),),
    ),
)


def families_of(names: Iterable[str]) -> tuple[Family, ...]:
    """The families that a model with tensors of these names (without a model prefix) belongs to: one diffusion model,
    or the encoders that it bundles; empty if no row describes it."""
    text = one_text(names)
    model = next((family for family in DIFFUSION_MODELS if _told(family, text)), None)
    return (model,) if model else tuple(family for family in ENCODERS if _told(family, text))


def lightx2v_also(names: Iterable[str]) -> tuple[str, ...]:
    """Of the tensors of these names, the layers that the rules keep and a file for LightX2V has quantized."""
    names = tuple(names)
    patterns = [pattern for family in families_of(names) for pattern in family.lightx2v_also]
    layers = (name.removesuffix(".weight") for name in names if name.endswith(".weight"))
    return tuple(layer for layer in layers if any(re.fullmatch(pattern, layer) for pattern in patterns))


def _told(family: Family, text: str) -> bool:
    return all(begins(sign, text) for sign in family.signs)
