"""HunyuanVideo 1.0 and 1.5. LightX2V has them under their authors' names."""

from .family import DIT, Family, LightX2VNames, Naming, Variant
from .flux_names import BLOCKS, COMMON, FLUX_1, SCALES, embedders
from .pairs import Pair, from_comfyui, pairs, to_comfyui

_STREAM = r"double_blocks\.\d+\.(?:img|txt)"
_REFINER = "txt_in.individual_token_refiner.blocks.#."
_NAMES = (
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
_NAMES_1 = (
    Pair("#_attn.qkv", ("#_attn_qkv",), _STREAM),
    *pairs(
        "single_blocks.#.",
        "single_blocks.#.",
        {"norm.query_norm": "q_norm", "norm.key_norm": "k_norm", "modulation.lin": "modulation.linear"},
    ),
)
_APART = Pair("#_attn.qkv", ("#_attn_q", "#_attn_k", "#_attn_v"), _STREAM)
_TABLE = (*to_comfyui((_APART, *_NAMES_1, *_NAMES)), SCALES)

# diffusers', which LoRAs have: beside the blocks, which are Flux' with the same names
_DIFFUSERS = from_comfyui(
    (
        *pairs(
            _REFINER,
            "context_embedder.token_refiner.refiner_blocks.#.",
            {
                "self_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
                "self_attn.proj": "attn.to_out.0",
                "mlp.0": "ff.net.0.proj",
                "mlp.2": "ff.net.2",
                "adaLN_modulation.1": "norm_out.linear",
            },
        ),
        *embedders("context_embedder.time_text_embed", {"txt_in.t_embedder": "timestep"}),
        *pairs("txt_in.", "context_embedder.", {"input_embedder": "proj_in"}),
        *embedders("context_embedder.time_text_embed", {"txt_in.c_embedder": "text"}),
        *COMMON,
        *FLUX_1,
    )
)
# OneTrainer's, where they are neither ComfyUI's nor the authors'
_OMI = from_comfyui(
    (*pairs("#_", "#_", {"mlp.0": "mlp.fc0"}, _STREAM), *pairs(_REFINER, _REFINER, {"mlp.0": "mlp.fc0"}))
)

_VERSION_1_5 = {
    "lightx2v": LightX2VNames(from_comfyui((_APART, *_NAMES))),
    "lora_names": (_DIFFUSERS,),
}
_VARIANTS = (
    Variant("HunyuanVideo 1.5", "cond_type_embedding.weight", **_VERSION_1_5),
    Variant("HunyuanVideo 1.5", "vision_in.proj.0.weight", **_VERSION_1_5),
    Variant(
        "HunyuanVideo",
        lightx2v=LightX2VNames(from_comfyui((*_NAMES_1, *_NAMES))),
        lora_names=(_DIFFUSERS, _OMI),
    ),
)

HUNYUAN_VIDEO = Family(
    DIT,
    (
        Naming(
            (r"txt_in\.individual_token_refiner\.", r"double_blocks\.\d+\.img_attn_q\."),
            _VARIANTS,
            _TABLE,
            joins=True,
            core_reads=False,
        ),
        Naming((r"txt_in\.individual_token_refiner\.",), _VARIANTS, _TABLE, joins=True),
    ),
    name="HunyuanVideo",
    takes=BLOCKS,
    keeps=((r"(txt_in|byt5_in)\..+", "prepares the text"), (r"vision_in\..+", "prepares the picture")),
    file_names=("hunyuan.?video",),
)
