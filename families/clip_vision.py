"""CLIP's vision encoder, Wan 2.1's for pictures: as open-clip's XLM-R has it, and as transformers and ComfyUI do."""

from .family import CLIP_VISION, Family, LightX2VNames, Naming, Variant
from .pairs import Pair, from_comfyui, pairs, to_comfyui
from .rules import Rule

_LAYERS = ("vision_model.encoder.layers.#.", "visual.transformer.#.")
_NAMES = (
    *pairs(
        "vision_model.",
        "visual.",
        # the name as core has it
        {
            "embeddings.patch_embedding": "patch_embedding",
            "pre_layrnorm": "pre_norm",
            "post_layernorm": "post_norm",
        },
    ),
    *pairs(
        *_LAYERS,
        {
            "layer_norm1": "norm1",
            "layer_norm2": "norm2",
            "self_attn.out_proj": "attn.proj",
            "mlp.fc1": "mlp.0",
            "mlp.fc2": "mlp.2",
        },
    ),
)
# one layer there, three here: the other way round than a pair is
_QKV = (Pair(f"{_LAYERS[1]}attn.to_qkv", tuple(f"{_LAYERS[0]}self_attn.{one}_proj" for one in "qkv")),)
_CLASS = ("vision_model.embeddings.class_embedding", "visual.cls_embedding")
_POSITION = ("vision_model.embeddings.position_embedding.weight", "visual.pos_embedding")
# [projection, width] of a linear layer here, [width, projection] there
_HEAD = ("visual_projection.weight", "visual.head")

CLIP = Family(
    CLIP_VISION,
    (
        Naming(
            (r"visual\.transformer\.\d+\.attn\.to_qkv\.weight$",),
            (Variant("CLIP ViT vision encoder (XLM-R)"),),
            (
                Rule(r"textual\."),
                Rule(r"log_scale$"),
                Rule(rf"{_CLASS[1]}$", (_CLASS[0],), lambda t: t.flatten()),
                Rule(rf"{_POSITION[1]}$", (_POSITION[0],), lambda t: t.squeeze(0)),
                Rule(rf"{_HEAD[1]}$", (_HEAD[0],), lambda t: t.t().contiguous()),
                *to_comfyui(_NAMES),
                *from_comfyui(_QKV),
            ),
            core_reads=False,
        ),
        Naming(
            (r"vision_model\.embeddings\.class_embedding$", r"vision_model\.encoder\.layers\.\d+\.self_attn\.q_proj\."),
            (
                Variant(
                    "CLIP ViT vision encoder",
                    lightx2v=LightX2VNames(
                        (
                            Rule(rf"{_CLASS[0]}$", (_CLASS[1],), lambda t: t.reshape(1, 1, -1)),
                            Rule(rf"{_POSITION[0]}$", (_POSITION[1],), lambda t: t.unsqueeze(0)),
                            Rule(rf"{_HEAD[0]}$", (_HEAD[1],), lambda t: t.t().contiguous()),
                            Rule(r"logit_scale$", ("log_scale",)),
                            *from_comfyui(_NAMES),
                            *to_comfyui(_QKV),
                        )
                    ),
                ),
            ),
            (
                Rule(r"text_model\."),
                Rule(r"text_projection\."),
                Rule(r"logit_(scale|bias)$"),
                Rule(r"vision_model\.embeddings\.position_ids$"),
            ),
            is_lightx2vs=False,
        ),
    ),
    name="CLIP vision",
    takes=(
        r"vision_model\.encoder\.layers\.\d+\.self_attn\.(q|k|v|out)_proj",
        r"vision_model\.encoder\.layers\.\d+\.mlp\.fc[12]",
    ),
    file_names=("clip.vision.h", r".*open.clip.xlm.roberta"),
)
