"""Flux, Flux.2, Chroma and LongCat-Image. LightX2V has them under diffusers' names."""

from .family import DIFFUSERS, DIT, ONLY_LIGHTX2V, Family, LightX2VNames, Naming, SharingModule, Variant
from .flux_names import BLOCKS, COMMON, DOUBLE, FLUX_1, FLUX_1_BLOCKS, GUIDANCE, SCALES, SINGLE, TIME, embedders
from .pairs import Pair, from_comfyui, pairs, to_comfyui

_FLUX = (*COMMON, *FLUX_1)
_FLUX_2 = (
    *COMMON,
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
_LONGCAT = (*COMMON, *FLUX_1_BLOCKS, *embedders("time_embed", TIME))
_FROM_DIFFUSERS = to_comfyui(dict.fromkeys((*_FLUX, *_FLUX_2, *_LONGCAT)))
_TO_DIFFUSERS = LightX2VNames(from_comfyui(_FLUX))
# OneTrainer's, where they are neither ComfyUI's nor the authors'
_OMI = from_comfyui(pairs("", "", {"img_in": "img_in.proj"}))

_DIFFUSERS_SIGNS = (
    r"single_transformer_blocks\.\d+\.",
    r"transformer_blocks\.\d+\.attn\.add_q_proj\.",
    r"x_embedder\.weight$",
)
_SIGNS = (r"double_blocks\.\d+\.img_attn\.qkv\.", r"single_blocks\.\d+\.linear1\.")

FLUX_2 = Family(
    DIT,
    (
        Naming(
            (*_DIFFUSERS_SIGNS, r"double_stream_modulation_img\.linear\.weight$"),
            (Variant(f"Flux.2{DIFFUSERS}"),),
            _FROM_DIFFUSERS,
            joins=True,
            core_reads=False,  # not all of them
        ),
        Naming(
            (*_SIGNS, r"double_stream_modulation_img\.lin\.weight$"),
            (Variant("Flux.2", lightx2v=LightX2VNames(from_comfyui(_FLUX_2))),),
            (SCALES,),
            joins=True,
        ),
    ),
    name="Flux.2",
    takes=BLOCKS,
    keeps=(
        (r"(double|single)_stream_modulation(_img|_txt)?\..+", f"modulates every block; {ONLY_LIGHTX2V}"),
        (r"final_layer\..+", f"is an output layer; {ONLY_LIGHTX2V}"),
        (r"img_in|txt_in|(time|guidance)_in\..+", f"embeds an input; {ONLY_LIGHTX2V}"),
    ),
    lightx2v_also=(
        r"(double_stream_modulation_(img|txt)|single_stream_modulation)\.lin",
        r"final_layer\.(linear|adaLN_modulation\.1)|img_in|txt_in",
        r"(time|guidance)_in\.(in|out)_layer",
    ),
)

# under ComfyUI's names it is told as Flux, which has the same layers
LONGCAT = Family(
    DIT,
    (
        Naming(
            (*_DIFFUSERS_SIGNS, r"time_embed\.timestep_embedder\.linear_1\.weight$"),
            (Variant(f"LongCat-Image{DIFFUSERS}"),),
            _FROM_DIFFUSERS,
            joins=True,
            core_reads=False,
        ),
    ),
    name="LongCat-Image",
    takes=BLOCKS,
    keeps=(
        (r"final_layer\..+", f"is an output layer; {ONLY_LIGHTX2V}"),
        (r"img_in|txt_in|time_in\..+", f"embeds an input; {ONLY_LIGHTX2V}"),
    ),
    lightx2v_also=(r"final_layer\.(linear|adaLN_modulation\.1)|img_in|txt_in|time_in\.(in|out)_layer",),
    file_names=("longcat",),
)

FLUX = Family(
    DIT,
    (
        Naming(
            _DIFFUSERS_SIGNS,
            (Variant(f"Flux{DIFFUSERS}"),),
            _FROM_DIFFUSERS,
            joins=True,
            core_reads=False,
        ),
        Naming(
            _SIGNS,
            (
                Variant("Chroma", "distilled_guidance_layer.in_proj.weight", lora_names=(_TO_DIFFUSERS.table, _OMI)),
                # the width of its text encoder, which no other has
                Variant("LongCat-Image", "txt_in.weight", 1, 3584, lightx2v=LightX2VNames(from_comfyui(_LONGCAT))),
                Variant("Flux", lightx2v=_TO_DIFFUSERS, lora_names=(_OMI,)),
            ),
            (SCALES,),
            joins=True,
        ),
    ),
    name="Flux",
    takes=(*BLOCKS, r"double_blocks\.\d+\.(img|txt)_mlp\.(gate|up|down)_proj"),
    keeps=(
        (r"final_layer\..+", "is an output layer"),
        (r"img_in|txt_in|(time|guidance|vector)_in\..+", "embeds an input"),
        (r"distilled_guidance_layer\..+", "makes the modulation of every block"),
    ),
    file_names=("flux", "chroma"),
    sharing=(
        # the activation gets gate_proj's output
        SharingModule("comfy.ldm.flux.layers:YakMLP.forward", (("gate_proj", "up_proj"),), ("115f8c515ec0",)),
    ),
    # XLabs', a processor of each attention
    lora_endings=(
        (r"\.processor\.qkv_lora1\.(up|down)\.weight$", r".img_attn.qkv.lora_\1.weight"),
        (r"\.processor\.qkv_lora2\.(up|down)\.weight$", r".txt_attn.qkv.lora_\1.weight"),
        (r"\.processor\.proj_lora1\.(up|down)\.weight$", r".img_attn.proj.lora_\1.weight"),
        (r"\.processor\.proj_lora2\.(up|down)\.weight$", r".txt_attn.proj.lora_\1.weight"),
        (r"\.processor\.qkv_lora\.(up|down)\.weight$", r".linear1_qkv.lora_\1.weight"),
        (r"\.processor\.proj_lora\.(up|down)\.weight$", r".linear2.lora_\1.weight"),
    ),
)
