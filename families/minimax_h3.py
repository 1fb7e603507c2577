"""MiniMax-H3. LightX2V has it under diffusers' names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .family import DIFFUSERS, DIT, Family, LightX2VNames, Naming, Variant
from .pairs import Pair, from_comfyui, pairs, to_comfyui
from .rules import Rule

if TYPE_CHECKING:
    import torch

_NAMES = (
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


def _frequencies() -> torch.Tensor:
    """Rotary, of an axis, as LightX2V and diffusers compute them: bit for bit those of MiniMax's own file."""
    import torch

    return 1 / 10000 ** (torch.arange(0, 32, 2) / 32)


_SIGNS = (r"token_refiner\.blocks\.\d+\.", r"blocks\.\d+\.adaln_proj\.")
_BLOCK = r"blocks\.\d+\.(attn\.(qkv_proj|out_proj)|mlp\.fc[12])"
_KEPT = (
    (r"token_refiner\..+", "prepares the text"),
    (r"final_layer\..+", "is an output layer"),
    (r"(video|audio)_patch_proj", "embeds an input"),
)
_PHASES = ("adaln_proj", "attn", "mlp")
_WANTED = frozenset({"inv_freq"})

# ComfyUI's edition with a table in place of the time embedder, which LightX2V does not have
PRUNED = Family(
    DIT,
    (Naming((*_SIGNS, "adaln_t_table$"), (Variant("MiniMax-H3 (pruned)"),)),),
    name="MiniMax-H3 (pruned)",
    takes=(_BLOCK,),
    keeps=(*_KEPT, (r"blocks\.\d+\.adaln_proj\.linear", "has a few inputs, and ComfyUI has it in float32")),
    wanted=_WANTED,
    phases=_PHASES,
)

MINIMAX_H3 = Family(
    DIT,
    (
        Naming(
            (r"token_refiner\.refiner_blocks\.\d+\.", r"transformer_blocks\.\d+\.adaln_proj\."),
            (Variant(f"MiniMax-H3{DIFFUSERS}"),),
            to_comfyui(_NAMES),
            joins=True,
            core_reads=False,
            computed={"rope.inv_freq": _frequencies},
        ),
        Naming(
            _SIGNS,
            (
                Variant(
                    "MiniMax-H3",
                    # its heads together are wider than the model
                    lightx2v=LightX2VNames((*from_comfyui(_NAMES), Rule(r"rope\.inv_freq$")), square=False),
                ),
            ),
        ),
    ),
    name="MiniMax-H3",
    takes=(_BLOCK, r"blocks\.\d+\.adaln_proj\.linear"),
    keeps=_KEPT,
    wanted=_WANTED,
    file_names=("minimax.?h3",),
    phases=_PHASES,
)
