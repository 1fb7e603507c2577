"""Names of diffusion models in LightX2V's files -> ComfyUI's, for the families whose names differ: a table each.

LightX2V's engine takes the names of diffusers, of HunyuanVideo those of its authors. Where core has a table of its own
(comfy.utils.flux_to_diffusers, z_image_to_diffusers, HunyuanVideo.process_unet_state_dict), these say the same and
more: core's need ComfyUI, which reading headers does not, and leave out what LoRAs have no names for.
"""

from .rules import Piece, Rule


def _renamed(block: str, target: str, names: dict[str, str]) -> tuple[Rule, ...]:
    """A rule for each module in a block: pattern -> name in ComfyUI, which may refer to groups of the pattern."""
    return tuple(Rule(rf"{block}\.{theirs}(?=\.)", (rf"{target}.{ours}",)) for theirs, ours in names.items())


def _joined(block: str, target: str, pieces: tuple[str, ...], ours: str) -> tuple[Rule, ...]:
    """Rules for layers (patterns) whose rows, in this order, are the rows of one in ComfyUI."""
    return tuple(
        Rule(rf"{block}\.{piece}(?=\.)", (Piece(rf"{target}.{ours}", index, len(pieces)),))
        for index, piece in enumerate(pieces)
    )


_QKV = (r"attn\.to_q", r"attn\.to_k", r"attn\.to_v")
_ADDED_QKV = (r"attn\.add_q_proj", r"attn\.add_k_proj", r"attn\.add_v_proj")

_DOUBLE = (r"transformer_blocks\.(\d+)", r"double_blocks.\1")
_SINGLE = (r"single_transformer_blocks\.(\d+)", r"single_blocks.\1")
_FLUX_DOUBLE = {
    r"attn\.to_out\.0": "img_attn.proj",
    r"attn\.to_add_out": "txt_attn.proj",
    r"attn\.norm_q": "img_attn.norm.query_norm",
    r"attn\.norm_k": "img_attn.norm.key_norm",
    r"attn\.norm_added_q": "txt_attn.norm.query_norm",
    r"attn\.norm_added_k": "txt_attn.norm.key_norm",
    r"norm1\.linear": "img_mod.lin",
    r"norm1_context\.linear": "txt_mod.lin",
    # the second spelling is Flux.2's
    r"ff\.(?:net\.0\.proj|linear_in)": "img_mlp.0",
    r"ff\.(?:net\.2|linear_out)": "img_mlp.2",
    r"ff_context\.(?:net\.0\.proj|linear_in)": "txt_mlp.0",
    r"ff_context\.(?:net\.2|linear_out)": "txt_mlp.2",
}
_FLUX_SINGLE = {
    r"attn\.norm_q": "norm.query_norm",
    r"attn\.norm_k": "norm.key_norm",
    r"norm\.linear": "modulation.lin",
    r"proj_out": "linear2",
    # Flux.2's
    r"attn\.to_qkv_mlp_proj": "linear1",
    r"attn\.to_out": "linear2",
}
# Flux: time_text_embed, Flux.2: time_guidance_embed, LongCat-Image: time_embed
_TIME = r"time(?:_text|_guidance)?_embed"
_EMBEDDERS = {"timestep": "time_in", "guidance": "guidance_in", "text": "vector_in"}
_OUTPUT = "final_layer.adaLN_modulation.1"

FLUX = (
    *_joined(*_DOUBLE, _QKV, "img_attn.qkv"),
    *_joined(*_DOUBLE, _ADDED_QKV, "txt_attn.qkv"),
    *_renamed(*_DOUBLE, _FLUX_DOUBLE),
    *_joined(*_SINGLE, (*_QKV, "proj_mlp"), "linear1"),
    *_renamed(*_SINGLE, _FLUX_SINGLE),
    Rule(r"x_embedder(?=\.)", ("img_in",)),
    Rule(r"context_embedder(?=\.)", ("txt_in",)),
    *(
        Rule(rf"{_TIME}\.{theirs}_embedder\.linear_{number}(?=\.)", (f"{ours}.{layer}",))
        for theirs, ours in _EMBEDDERS.items()
        for number, layer in ((1, "in_layer"), (2, "out_layer"))
    ),
    Rule(r"(double_stream_modulation_(?:img|txt)|single_stream_modulation)\.linear(?=\.)", (r"\1.lin",)),
    # scale, then shift there; shift, then scale here
    Rule(r"norm_out\.linear(?=\.)", (Piece(_OUTPUT, 1, 2), Piece(_OUTPUT, 0, 2))),
    Rule(r"proj_out(?=\.)", ("final_layer.linear",)),
)

_ANY_BLOCK = (r"((?:layers|noise_refiner|context_refiner|siglip_refiner)\.\d+)", r"\1")
Z_IMAGE = (
    *_joined(*_ANY_BLOCK, (r"attention\.to_q", r"attention\.to_k", r"attention\.to_v"), "attention.qkv"),
    *_renamed(
        *_ANY_BLOCK,
        {r"attention\.to_out\.0": "attention.out", r"attention\.norm_([qk])": r"attention.\2_norm"},
    ),
    # 2-1: one frame of patches of 2 x 2
    Rule(r"all_(x_embedder|final_layer)\.2-1(?=\.)", (r"\1",)),
)

# as their authors publish Flux, Chroma and HunyuanVideo: ComfyUI's names but for the norms of queries and keys
_SCALES = Rule(r"(.*(?:query|key)_norm)\.scale$", (r"\1.weight",))
FLUX_ORIGINAL = (_SCALES,)

_STREAM = r"(double_blocks\.\d+\.(?:img|txt))"
_QUERY_KEY = (("q", "query"), ("k", "key"))
HUNYUAN_VIDEO = (
    # LightX2V has them apart, HunyuanVideo 1.0 in one
    *(Rule(rf"{_STREAM}_attn_{name}(?=\.)", (Piece(r"\1_attn.qkv", index, 3),)) for index, name in enumerate("qkv")),
    Rule(rf"{_STREAM}_attn_(qkv|proj)(?=\.)", (r"\1_attn.\2",)),
    *(Rule(rf"{_STREAM}_attn_{short}_norm(?=\.)", (rf"\1_attn.norm.{long}_norm",)) for short, long in _QUERY_KEY),
    Rule(rf"{_STREAM}_mod\.linear(?=\.)", (r"\1_mod.lin",)),
    Rule(rf"{_STREAM}_mlp\.fc1(?=\.)", (r"\1_mlp.0",)),
    Rule(rf"{_STREAM}_mlp\.fc2(?=\.)", (r"\1_mlp.2",)),
    *(Rule(rf"(single_blocks\.\d+)\.{short}_norm(?=\.)", (rf"\1.norm.{long}_norm",)) for short, long in _QUERY_KEY),
    Rule(r"(single_blocks\.\d+\.modulation)\.linear(?=\.)", (r"\1.lin",)),
    Rule(r"(txt_in\.individual_token_refiner\.blocks\.\d+\.self_attn)_(qkv|proj)(?=\.)", (r"\1.\2",)),
    Rule(r"(txt_in\.individual_token_refiner\.blocks\.\d+\.mlp)\.fc1(?=\.)", (r"\1.0",)),
    Rule(r"(txt_in\.individual_token_refiner\.blocks\.\d+\.mlp)\.fc2(?=\.)", (r"\1.2",)),
    Rule(r"(\w+_in|txt_in\.t_embedder)\.mlp\.0(?=\.)", (r"\1.in_layer",)),
    Rule(r"(\w+_in|txt_in\.t_embedder)\.mlp\.2(?=\.)", (r"\1.out_layer",)),
    Rule(r"txt_in\.c_embedder\.linear_1(?=\.)", ("txt_in.c_embedder.in_layer",)),
    Rule(r"txt_in\.c_embedder\.linear_2(?=\.)", ("txt_in.c_embedder.out_layer",)),
    _SCALES,
)

# table -> its rules; kinds.py says which files they are for
DIT_RULES: dict[str, tuple[Rule, ...]] = {
    "flux": FLUX,
    "flux-original": FLUX_ORIGINAL,
    "z-image": Z_IMAGE,
    "hunyuan-video": HUNYUAN_VIDEO,
}
