"""A file's names -> ComfyUI's, and some the other way: the rename tables, as data."""

import re
from dataclasses import dataclass

import torch

from .dit_names import DIFFUSERS_RULES, DIT_RULES, LIGHTX2V_RULES
from .rules import Change, Piece, Rule


@dataclass(frozen=True)
class Target:
    """Where a tensor goes: part `part` of `parts` equal shares of its rows, then through `change`. There it is piece
    `piece` of the `pieces` that make the rows of the tensor called `name`."""

    name: str
    part: int = 0
    parts: int = 1
    change: Change | None = None
    piece: int = 0
    pieces: int = 1

    def rows(self, count: int) -> slice | None:
        """The share of `count` rows, None for all of them."""
        share = count // self.parts
        return None if self.parts == 1 else slice(self.part * share, (self.part + 1) * share)

    def take(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.parts > 1:
            tensor = tensor[self.rows(tensor.shape[0])]
        return tensor if self.change is None else self.change(tensor)


_T5 = r"encoder.block.\1.layer"
_VISION = "vision_model."
_LAYER = rf"{_VISION}encoder.layers.\1"

# diffusers' names in a block of Wan (also of VACE) -> Wan's own
_DIFFUSERS_BLOCK = {
    r"attn1\.to_([qkv])(?=\.)": r"self_attn.\2",
    r"attn1\.to_out\.0(?=\.)": "self_attn.o",
    r"attn1\.norm_([qk])(?=\.)": r"self_attn.norm_\2",
    r"attn2\.to_([qkv])(?=\.)": r"cross_attn.\2",
    r"attn2\.to_out\.0(?=\.)": "cross_attn.o",
    r"attn2\.norm_([qk])(?=\.)": r"cross_attn.norm_\2",
    r"attn2\.add_([kv])_proj(?=\.)": r"cross_attn.\2_img",
    r"attn2\.norm_added_k(?=\.)": "cross_attn.norm_k_img",
    r"norm2(?=\.)": "norm3",
    r"ffn\.net\.0\.proj(?=\.)": "ffn.0",
    r"ffn\.net\.2(?=\.)": "ffn.2",
    r"scale_shift_table$": "modulation",
    r"proj_in(?=\.)": "before_proj",
    r"proj_out(?=\.)": "after_proj",
}
_WAN_BLOCK = tuple(
    Rule(rf"((?:vace_)?blocks\.\d+)\.{theirs}", (rf"\1.{wans}",)) for theirs, wans in _DIFFUSERS_BLOCK.items()
)

RULES: dict[str, tuple[Rule, ...]] = {
    "same": (),
    "wan-t5": (
        Rule(r"token_embedding(?=\.)", ("shared",)),
        Rule(r"norm(?=\.)", ("encoder.final_layer_norm",)),
        Rule(r"blocks\.(\d+)\.attn\.([qkvo])(?=\.)", (rf"{_T5}.0.SelfAttention.\2",)),
        Rule(r"blocks\.(\d+)\.pos_embedding\.embedding(?=\.)", (f"{_T5}.0.SelfAttention.relative_attention_bias",)),
        Rule(r"blocks\.(\d+)\.norm1(?=\.)", (f"{_T5}.0.layer_norm",)),
        Rule(r"blocks\.(\d+)\.norm2(?=\.)", (f"{_T5}.1.layer_norm",)),
        Rule(r"blocks\.(\d+)\.ffn\.gate\.0(?=\.)", (f"{_T5}.1.DenseReluDense.wi_0",)),
        Rule(r"blocks\.(\d+)\.ffn\.fc1(?=\.)", (f"{_T5}.1.DenseReluDense.wi_1",)),
        Rule(r"blocks\.(\d+)\.ffn\.fc2(?=\.)", (f"{_T5}.1.DenseReluDense.wo",)),
    ),
    "wan-diffusers": (
        Rule(r"condition_embedder\.time_embedder\.linear_1(?=\.)", ("time_embedding.0",)),
        Rule(r"condition_embedder\.time_embedder\.linear_2(?=\.)", ("time_embedding.2",)),
        Rule(r"condition_embedder\.time_proj(?=\.)", ("time_projection.1",)),
        Rule(r"condition_embedder\.text_embedder\.linear_1(?=\.)", ("text_embedding.0",)),
        Rule(r"condition_embedder\.text_embedder\.linear_2(?=\.)", ("text_embedding.2",)),
        Rule(r"condition_embedder\.image_embedder\.pos_embed$", ("img_emb.emb_pos",)),
        Rule(r"condition_embedder\.image_embedder\.norm1(?=\.)", ("img_emb.proj.0",)),
        Rule(r"condition_embedder\.image_embedder\.ff\.net\.0\.proj(?=\.)", ("img_emb.proj.1",)),
        Rule(r"condition_embedder\.image_embedder\.ff\.net\.2(?=\.)", ("img_emb.proj.3",)),
        Rule(r"condition_embedder\.image_embedder\.norm2(?=\.)", ("img_emb.proj.4",)),
        Rule(r"scale_shift_table$", ("head.modulation",)),
        Rule(r"proj_out(?=\.)", ("head.head",)),
        *_WAN_BLOCK,
    ),
    # copies of `shared`, which T5 ties to it, and the decoder, which no text encoder has
    "hf-t5": (Rule(r"encoder\.embed_tokens\."), Rule(r"decoder\."), Rule(r"lm_head\.")),
    "xlm-r": (
        Rule(r"textual\."),
        Rule(r"log_scale$"),
        Rule(r"visual\.cls_embedding$", (f"{_VISION}embeddings.class_embedding",), torch.flatten),
        Rule(r"visual\.pos_embedding$", (f"{_VISION}embeddings.position_embedding.weight",), lambda t: t.squeeze(0)),
        Rule(r"visual\.patch_embedding(?=\.)", (f"{_VISION}embeddings.patch_embedding",)),
        # the name as core has it
        Rule(r"visual\.pre_norm(?=\.)", (f"{_VISION}pre_layrnorm",)),
        Rule(r"visual\.post_norm(?=\.)", (f"{_VISION}post_layernorm",)),
        # [width, projection] there, a linear layer's [projection, width] here
        Rule(r"visual\.head$", ("visual_projection.weight",), lambda t: t.t().contiguous()),
        Rule(r"visual\.transformer\.(\d+)\.norm([12])(?=\.)", (rf"{_LAYER}.layer_norm\2",)),
        Rule(
            r"visual\.transformer\.(\d+)\.attn\.to_qkv(?=\.)",
            tuple(f"{_LAYER}.self_attn.{name}_proj" for name in "qkv"),
        ),
        Rule(r"visual\.transformer\.(\d+)\.attn\.proj(?=\.)", (f"{_LAYER}.self_attn.out_proj",)),
        Rule(r"visual\.transformer\.(\d+)\.mlp\.0(?=\.)", (f"{_LAYER}.mlp.fc1",)),
        Rule(r"visual\.transformer\.(\d+)\.mlp\.2(?=\.)", (f"{_LAYER}.mlp.fc2",)),
    ),
    "hf-clip": (
        Rule(r"text_model\."),
        Rule(r"text_projection\."),
        Rule(r"logit_(scale|bias)$"),
        Rule(r"vision_model\.embeddings\.position_ids$"),
    ),
    **DIT_RULES,
    **LIGHTX2V_RULES,
    **DIFFUSERS_RULES,
}


def targets(table: str, name: str) -> list[Target]:
    """Where the tensor called `name` goes, by the rename table `table`; empty if it is dropped."""
    for rule in RULES[table]:
        match = re.match(rule.pattern, name)
        if match:
            rest = name[match.end() :]
            return [_target(rule, match, part, rest) for part in range(len(rule.targets))]
    return [Target(name)]


def _target(rule: Rule, match: re.Match, part: int, rest: str) -> Target:
    given = rule.targets[part]
    piece = given if isinstance(given, Piece) else Piece(given, 0, 1)
    return Target(match.expand(piece.name) + rest, part, len(rule.targets), rule.change, piece.index, piece.count)
