"""ComfyUI's names -> those of Wan's own encoder files, which LightX2V reads: the rename tables the other way round."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

Change = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Back:
    """A pattern for the beginning of ComfyUI's name -> what replaces it; the rest of the name stays. The tensor is
    share `part` of `parts` of the rows there, after `change`. No target: Wan's file has no such tensor."""

    pattern: str
    target: str | None = None
    part: int = 0
    parts: int = 1
    change: Change | None = None


_BLOCK = r"encoder\.block\.(\d+)\.layer"
_VISION = r"vision_model\."
_LAYER = rf"{_VISION}encoder\.layers\.(\d+)"
_THERE = r"visual.transformer.\1"

ORIGINALS: dict[str, tuple[Back, ...]] = {
    "dit": (),
    "t5": (
        Back(r"shared(?=\.)", "token_embedding"),
        Back(r"encoder\.embed_tokens(?=\.)"),
        Back(r"encoder\.final_layer_norm(?=\.)", "norm"),
        Back(rf"{_BLOCK}\.0\.SelfAttention\.relative_attention_bias(?=\.)", r"blocks.\1.pos_embedding.embedding"),
        Back(rf"{_BLOCK}\.0\.SelfAttention\.([qkvo])(?=\.)", r"blocks.\1.attn.\2"),
        Back(rf"{_BLOCK}\.0\.layer_norm(?=\.)", r"blocks.\1.norm1"),
        Back(rf"{_BLOCK}\.1\.layer_norm(?=\.)", r"blocks.\1.norm2"),
        Back(rf"{_BLOCK}\.1\.DenseReluDense\.wi_0(?=\.)", r"blocks.\1.ffn.gate.0"),
        Back(rf"{_BLOCK}\.1\.DenseReluDense\.wi_1(?=\.)", r"blocks.\1.ffn.fc1"),
        Back(rf"{_BLOCK}\.1\.DenseReluDense\.wo(?=\.)", r"blocks.\1.ffn.fc2"),
    ),
    "clip_vision": (
        Back(rf"{_VISION}embeddings\.class_embedding$", "visual.cls_embedding", change=lambda t: t.reshape(1, 1, -1)),
        Back(
            rf"{_VISION}embeddings\.position_embedding\.weight$",
            "visual.pos_embedding",
            change=lambda t: t.unsqueeze(0),
        ),
        Back(rf"{_VISION}embeddings\.patch_embedding(?=\.)", "visual.patch_embedding"),
        # the name as core has it
        Back(rf"{_VISION}pre_layrnorm(?=\.)", "visual.pre_norm"),
        Back(rf"{_VISION}post_layernorm(?=\.)", "visual.post_norm"),
        Back(r"visual_projection\.weight$", "visual.head", change=lambda t: t.t().contiguous()),
        Back(r"logit_scale$", "log_scale"),
        Back(rf"{_LAYER}\.layer_norm([12])(?=\.)", rf"{_THERE}.norm\2"),
        *(
            Back(rf"{_LAYER}\.self_attn\.{name}_proj(?=\.)", f"{_THERE}.attn.to_qkv", part, 3)
            for part, name in enumerate("qkv")
        ),
        Back(rf"{_LAYER}\.self_attn\.out_proj(?=\.)", f"{_THERE}.attn.proj"),
        Back(rf"{_LAYER}\.mlp\.fc1(?=\.)", f"{_THERE}.mlp.0"),
        Back(rf"{_LAYER}\.mlp\.fc2(?=\.)", f"{_THERE}.mlp.2"),
    ),
}


def original(kind: str, name: str) -> tuple[str | None, Back]:
    """(the name in Wan's own file of a model of `kind`, the rule that says so); a name without a rule stays, and None
    is a tensor that such a file does not have."""
    for rule in ORIGINALS[kind]:
        match = re.match(rule.pattern, name)
        if match:
            return None if rule.target is None else match.expand(rule.target) + name[match.end() :], rule
    return name, Back("", name)
