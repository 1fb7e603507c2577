"""Names of blocks as Flux has them, in ComfyUI and in diffusers: what its families and HunyuanVideo share.

comfy.utils.flux_to_diffusers says the same; it needs ComfyUI, which reading headers does not, and leaves out what LoRAs
have no names for.
"""

from .pairs import Pair, pairs
from .rules import Rule

# those of them that are quantized
BLOCKS = (
    r"double_blocks\.\d+\.(img|txt)_(attn\.(qkv|proj)|mlp\.[02]|mod\.lin)",
    r"single_blocks\.\d+\.(linear[12]|modulation\.lin)",
)

DOUBLE = ("double_blocks.#.", "transformer_blocks.#.")
SINGLE = ("single_blocks.#.", "single_transformer_blocks.#.")
# of all
COMMON = (
    *pairs(
        *DOUBLE,
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
    *pairs(*SINGLE, {"norm.query_norm": "attn.norm_q", "norm.key_norm": "attn.norm_k"}),
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
FLUX_1_BLOCKS = (
    *pairs(
        *DOUBLE,
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
    *pairs(*SINGLE, {"modulation.lin": "norm.linear", "linear2": "proj_out"}),
)


def embedders(theirs: str, names: dict[str, str]) -> tuple[Pair, ...]:
    """names: ComfyUI's -> what diffusers has before "_embedder"."""
    return tuple(
        Pair(f"{ours}.{layer}", (f"{theirs}.{name}_embedder.linear_{number}",))
        for ours, name in names.items()
        for number, layer in ((1, "in_layer"), (2, "out_layer"))
    )


TIME = {"time_in": "timestep"}
GUIDANCE = {**TIME, "guidance_in": "guidance"}
FLUX_1 = (*FLUX_1_BLOCKS, *embedders("time_text_embed", {**GUIDANCE, "vector_in": "text"}))

# as their authors publish Flux, Chroma and HunyuanVideo: ComfyUI's names but for the norms of queries and keys
SCALES = Rule(r"(.*(?:query|key)_norm)\.scale$", (r"\1.weight",))
