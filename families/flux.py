"""Flux, Flux.2, Chroma and LongCat-Image. LightX2V has them under diffusers' names."""

from .family import DIFFUSERS, DIT, Family, LightX2VNames, Naming, Variant
from .flux_names import COMMON, DOUBLE, FLUX_1, FLUX_1_BLOCKS, GUIDANCE, SCALES, SINGLE, TIME, embedders
from .pairs import Pair, from_comfyui, pairs, to_comfyui

_FLUX_2 = (
    *pairs(
        *DOUBLE,
        {
            "img_mlp.0": "ff.linear_in",
            "img_mlp.2": "ff.linear_out",
            "txt_mlp.0": "ff_context.linear_in",
            "txt_mlp.2": "ff_context.linear_out",
        },
    ),
    *pairs(*SINGLE, {"linear1": "attn.to_qkv_mlp_proj", "linear2": "attn.to_out"}),
    Pair("#.lin", ("#.linear",), r"double_stream_modulation_(?:img|txt)|single_stream_modulation"),
    *embedders("time_guidance_embed", GUIDANCE),
)
_LONGCAT_TIME = embedders("time_embed", TIME)
_TO_DIFFUSERS = LightX2VNames(from_comfyui((*COMMON, *FLUX_1)))
# OneTrainer's, where they are neither ComfyUI's nor the authors'
_OMI = from_comfyui(pairs("", "", {"img_in": "img_in.proj"}))

FLUX = Family(
    DIT,
    (
        Naming(
            (
                r"single_transformer_blocks\.\d+\.",
                r"transformer_blocks\.\d+\.attn\.add_q_proj\.",
                r"x_embedder\.weight$",
            ),
            (
                Variant(f"Flux.2{DIFFUSERS}", "double_stream_modulation_img.linear.weight"),
                Variant(f"LongCat-Image{DIFFUSERS}", "time_embed.timestep_embedder.linear_1.weight"),
                Variant(f"Flux{DIFFUSERS}"),
            ),
            to_comfyui((*COMMON, *FLUX_1, *_FLUX_2, *_LONGCAT_TIME)),
            joins=True,
            core_reads=False,  # not all of them
        ),
        Naming(
            (r"double_blocks\.\d+\.img_attn\.qkv\.", r"single_blocks\.\d+\.linear1\."),
            (
                Variant(
                    "Flux.2",
                    "double_stream_modulation_img.lin.weight",
                    lightx2v=LightX2VNames(from_comfyui((*COMMON, *_FLUX_2))),
                ),
                Variant("Chroma", "distilled_guidance_layer.in_proj.weight", lora_names=(_TO_DIFFUSERS.table, _OMI)),
                # the width of its text encoder, which no other has
                Variant(
                    "LongCat-Image",
                    "txt_in.weight",
                    1,
                    3584,
                    lightx2v=LightX2VNames(from_comfyui((*COMMON, *FLUX_1_BLOCKS, *_LONGCAT_TIME))),
                ),
                Variant("Flux", lightx2v=_TO_DIFFUSERS, lora_names=(_OMI,)),
            ),
            (SCALES,),
            joins=True,
        ),
    ),
)
