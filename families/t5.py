"""umt5, Wan's text encoder."""

from .family import T5, Family, LightX2VNames, Naming, Variant
from .pairs import from_comfyui, pairs, to_comfyui
from .rules import Rule

_NAMES = (
    *pairs("", "", {"shared": "token_embedding", "encoder.final_layer_norm": "norm"}),
    *pairs(
        "encoder.block.#.layer.",
        "blocks.#.",
        {
            **{f"0.SelfAttention.{one}": f"attn.{one}" for one in "qkvo"},
            "0.SelfAttention.relative_attention_bias": "pos_embedding.embedding",
            "0.layer_norm": "norm1",
            "1.layer_norm": "norm2",
            "1.DenseReluDense.wi_0": "ffn.gate.0",
            "1.DenseReluDense.wi_1": "ffn.fc1",
            "1.DenseReluDense.wo": "ffn.fc2",
        },
    ),
)

# those of Wan's own file
WANS = LightX2VNames((*from_comfyui(_NAMES), Rule(r"encoder\.embed_tokens\.")))

UMT5 = Family(
    T5,
    (
        Naming(
            (r"token_embedding\.weight$", r"blocks\.\d+\.pos_embedding\.embedding\.weight$"),
            (Variant("umt5 encoder"),),
            to_comfyui(_NAMES),
            core_reads=False,
        ),
        Naming(
            (r"encoder\.block\.[1-9]\d*\.layer\.0\.SelfAttention\.relative",),
            (Variant("umt5 encoder", lightx2v=WANS),),
            # copies of `shared`, which T5 ties to it, and the decoder, which no text encoder has
            (Rule(r"encoder\.embed_tokens\."), Rule(r"decoder\."), Rule(r"lm_head\.")),
            is_lightx2vs=False,
        ),
    ),
    name="T5",
    takes=(
        r"encoder\.block\.\d+\.layer\.0\.SelfAttention\.[qkvo]",
        r"encoder\.block\.\d+\.layer\.1\.DenseReluDense\.w(i|i_0|i_1|o)",
    ),
    tied={"shared": ("encoder.embed_tokens", "decoder.embed_tokens", "lm_head")},
)
