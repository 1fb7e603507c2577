"""Names of diffusion models in LightX2V's files and ComfyUI's, for the families whose names differ: a table each, for
both directions.

LightX2V's engine takes the names of diffusers, of HunyuanVideo those of its authors. Where core has a table of its own
(comfy.utils.flux_to_diffusers, z_image_to_diffusers, HunyuanVideo.process_unet_state_dict), these say the same and
more: core's need ComfyUI, which reading headers does not, and leave out what LoRAs have no names for.
"""

import re

import torch

from .pairs import Pair, from_comfyui, pairs, to_comfyui
from .rules import Rule

_DOUBLE = ("double_blocks.#.", "transformer_blocks.#.")
_SINGLE = ("single_blocks.#.", "single_transformer_blocks.#.")
_FLUX = (
    *pairs(
        *_DOUBLE,
        {
            "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
            "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
            "img_attn.proj": "attn.to_out.0",
            "txt_attn.proj": "attn.to_add_out",
            "img_attn.norm.query_norm": "attn.norm_q",
            "img_attn.norm.key_norm": "attn.norm_k",
            "txt_attn.norm.query_norm": "attn.norm_added_q",
            "txt_attn.norm.key_norm": "attn.norm_added_k",
        },
    ),
    *pairs(*_SINGLE, {"norm.query_norm": "attn.norm_q", "norm.key_norm": "attn.norm_k"}),
    *pairs("", "", {"img_in": "x_embedder", "txt_in": "context_embedder", "final_layer.linear": "proj_out"}),
    # scale, then shift there; shift, then scale here
    Pair("final_layer.adaLN_modulation.1", ("norm_out.linear",), turned=True),
)
# the feed-forward is four times as wide as the model
_ONE_LAYER = Pair(
    "single_blocks.#.linear1",
    (*(f"single_transformer_blocks.#.attn.to_{one}" for one in "qkv"), "single_transformer_blocks.#.proj_mlp"),
    shares=(1, 1, 1, 4),
)
_BLOCKS_OF_FLUX_1 = (
    *pairs(
        *_DOUBLE,
        {
            "img_mod.lin": "norm1.linear",
            "txt_mod.lin": "norm1_context.linear",
            "img_mlp.0": "ff.net.0.proj",
            "img_mlp.2": "ff.net.2",
            "txt_mlp.0": "ff_context.net.0.proj",
            "txt_mlp.2": "ff_context.net.2",
        },
    ),
    _ONE_LAYER,
    *pairs(*_SINGLE, {"modulation.lin": "norm.linear", "linear2": "proj_out"}),
)
_BLOCKS_OF_FLUX_2 = (
    *pairs(
        *_DOUBLE,
        {
            "img_mlp.0": "ff.linear_in",
            "img_mlp.2": "ff.linear_out",
            "txt_mlp.0": "ff_context.linear_in",
            "txt_mlp.2": "ff_context.linear_out",
        },
    ),
    *pairs(*_SINGLE, {"linear1": "attn.to_qkv_mlp_proj", "linear2": "attn.to_out"}),
    Pair("#.lin", ("#.linear",), r"double_stream_modulation_(?:img|txt)|single_stream_modulation"),
)


def _embedders(theirs: str, names: dict[str, str]) -> tuple[Pair, ...]:
    """names: ComfyUI's -> what diffusers has before "_embedder"."""
    return tuple(
        Pair(f"{ours}.{layer}", (f"{theirs}.{name}_embedder.linear_{number}",))
        for ours, name in names.items()
        for number, layer in ((1, "in_layer"), (2, "out_layer"))
    )


_TIME = {"time_in": "timestep"}
_GUIDANCE = {**_TIME, "guidance_in": "guidance"}
_FLUX_1 = (*_BLOCKS_OF_FLUX_1, *_embedders("time_text_embed", {**_GUIDANCE, "vector_in": "text"}))
_FLUX_2 = (*_BLOCKS_OF_FLUX_2, *_embedders("time_guidance_embed", _GUIDANCE))
_TIME_OF_LONGCAT = _embedders("time_embed", _TIME)

_Z_IMAGE = (
    *pairs(
        "#.attention.",
        "#.attention.",
        {"qkv": ("to_q", "to_k", "to_v"), "out": "to_out.0", "q_norm": "norm_q", "k_norm": "norm_k"},
        r"(?:layers|noise_refiner|context_refiner|siglip_refiner)\.\d+",
    ),
    # 2-1: one frame of patches of 2 x 2
    *pairs("", "all_", {"x_embedder": "x_embedder.2-1", "final_layer": "final_layer.2-1"}),
)

# as their authors publish Flux, Chroma and HunyuanVideo: ComfyUI's names but for the norms of queries and keys
_SCALES = Rule(r"(.*(?:query|key)_norm)\.scale$", (r"\1.weight",))

_STREAM = r"double_blocks\.\d+\.(?:img|txt)"
_REFINER = "txt_in.individual_token_refiner.blocks.#."
_HUNYUAN_VIDEO = (
    *pairs(
        "#_",
        "#_",
        {
            "attn.proj": "attn_proj",
            "attn.norm.query_norm": "attn_q_norm",
            "attn.norm.key_norm": "attn_k_norm",
            "mod.lin": "mod.linear",
            "mlp.0": "mlp.fc1",
            "mlp.2": "mlp.fc2",
        },
        _STREAM,
    ),
    *pairs(
        _REFINER,
        _REFINER,
        {
            "self_attn.qkv": "self_attn_qkv",
            "self_attn.proj": "self_attn_proj",
            "mlp.0": "mlp.fc1",
            "mlp.2": "mlp.fc2",
        },
    ),
    *pairs("#.", "#.", {"in_layer": "mlp.0", "out_layer": "mlp.2"}, r"(?:time|time_r|guidance)_in|txt_in\.t_embedder"),
    *pairs("txt_in.c_embedder.", "txt_in.c_embedder.", {"in_layer": "linear_1", "out_layer": "linear_2"}),
)
# 1.0 has queries, keys and values in one, and blocks of one stream
_HUNYUAN_VIDEO_1 = (
    Pair("#_attn.qkv", ("#_attn_qkv",), _STREAM),
    *pairs(
        "single_blocks.#.",
        "single_blocks.#.",
        {"norm.query_norm": "q_norm", "norm.key_norm": "k_norm", "modulation.lin": "modulation.linear"},
    ),
)
_APART = Pair("#_attn.qkv", ("#_attn_q", "#_attn_k", "#_attn_v"), _STREAM)

_MINIMAX_H3 = (
    *(
        pair
        for blocks in (
            ("blocks.#.", "transformer_blocks.#."),
            ("token_refiner.blocks.#.", "token_refiner.refiner_blocks.#."),
        )
        for pair in (
            *pairs(
                *blocks,
                {
                    "attn.qkv_proj": ("attn.to_q", "attn.to_k", "attn.to_v"),
                    "attn.out_proj": "attn.to_out.0",
                    "attn.q_norm": "attn.norm_q",
                    "attn.k_norm": "attn.norm_k",
                    "mlp.fc2": "ff.net.2",
                    "norm1": "norm1",
                    "norm2": "norm2",
                },
            ),
            # value, then gate there; gate, then value here
            Pair(f"{blocks[0]}mlp.fc1", (f"{blocks[1]}ff.net.0.proj",), turned=True),
        )
    ),
    *pairs("blocks.#.", "transformer_blocks.#.", {"adaln_proj": "adaln_proj"}),
    *pairs("time_embedder.", "time_embedder.", {"proj_in": "linear_1", "proj_out": "linear_2"}),
    *pairs(
        "",
        "",
        {
            "video_patch_proj": "proj_in",
            "audio_patch_proj": "audio_proj_in",
            "condition_proj": "context_embedder",
            "final_layer.norm": "norm_out.norm",
            "final_layer.adaln_proj.linear": "norm_out.linear",
            "final_layer.video_out": "proj_out",
            "final_layer.audio_out": "audio_proj_out",
        },
    ),
)

# table -> what is a tensor in ComfyUI's model, and a constant of the code that reads these files: name -> values
COMPUTED: dict[str, dict[str, torch.Tensor]] = {
    # rotary frequencies of an axis, as LightX2V and diffusers compute them: bit for bit those of MiniMax's own file
    "minimax-h3": {"rope.inv_freq": 1 / 10000 ** (torch.arange(0, 32, 2) / 32)},
}
CONSTANTS = {name for constants in COMPUTED.values() for name in constants}


def _dropped(table: str) -> tuple[Rule, ...]:
    return tuple(Rule(f"{re.escape(name)}$") for name in COMPUTED[table])


# table -> its rules, the file's names -> ComfyUI's; kinds.py says which files they are for
DIT_RULES: dict[str, tuple[Rule, ...]] = {
    "flux": to_comfyui((*_FLUX, *_FLUX_1, *_FLUX_2, *_TIME_OF_LONGCAT)),
    "flux-original": (_SCALES,),
    "z-image": to_comfyui(_Z_IMAGE),
    "hunyuan-video": (*to_comfyui((_APART, *_HUNYUAN_VIDEO_1, *_HUNYUAN_VIDEO)), _SCALES),
    "minimax-h3": to_comfyui(_MINIMAX_H3),
}

# table -> its rules, ComfyUI's names -> LightX2V's; lightx2v_names.py says which models they are for
LIGHTX2V_RULES: dict[str, tuple[Rule, ...]] = {
    "to flux": from_comfyui((*_FLUX, *_FLUX_1)),
    "to flux 2": from_comfyui((*_FLUX, *_FLUX_2)),
    "to longcat": from_comfyui((*_FLUX, *_BLOCKS_OF_FLUX_1, *_TIME_OF_LONGCAT)),
    "to z-image": from_comfyui(_Z_IMAGE),
    "to hunyuan-video": from_comfyui((*_HUNYUAN_VIDEO_1, *_HUNYUAN_VIDEO)),
    "to hunyuan-video 1.5": from_comfyui((_APART, *_HUNYUAN_VIDEO)),
    "to minimax-h3": (*from_comfyui(_MINIMAX_H3), *_dropped("minimax-h3")),
}

_REFINERS = ("txt_in.individual_token_refiner.blocks.#.", "context_embedder.token_refiner.refiner_blocks.#.")
# beside the blocks, which are Flux' with the same names
_DIFFUSERS_HUNYUAN = (
    *pairs(
        *_REFINERS,
        {
            "self_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
            "self_attn.proj": "attn.to_out.0",
            "mlp.0": "ff.net.0.proj",
            "mlp.2": "ff.net.2",
            "adaLN_modulation.1": "norm_out.linear",
        },
    ),
    *_embedders("context_embedder.time_text_embed", {"txt_in.t_embedder": "timestep"}),
    *pairs("txt_in.", "context_embedder.", {"input_embedder": "proj_in"}),
    *_embedders("context_embedder.time_text_embed", {"txt_in.c_embedder": "text"}),
)
# OneTrainer's, where they are neither ComfyUI's nor the authors'
_OMI_HUNYUAN = (
    *pairs("#_", "#_", {"mlp.0": "mlp.fc0"}, _STREAM),
    *pairs(_REFINER, _REFINER, {"mlp.0": "mlp.fc0"}),
)
# table -> its rules, ComfyUI's names -> those of LoRAs that no file of LightX2V's has
DIFFUSERS_RULES: dict[str, tuple[Rule, ...]] = {
    "to omi's flux": from_comfyui(pairs("", "", {"img_in": "img_in.proj"})),
    "to omi's hunyuan-video": from_comfyui(_OMI_HUNYUAN),
    "to diffusers' hunyuan-video": from_comfyui((*_DIFFUSERS_HUNYUAN, *_FLUX, *_FLUX_1)),
}
