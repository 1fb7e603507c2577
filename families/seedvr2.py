"""SeedVR2, a video upscaler, whose names are the same everywhere."""

from .family import DIT, Companion, Family, Naming, SharingModule, Variant

_SOURCE = "ByteDance-Seed/SeedVR2-3B"

SEEDVR2 = Family(
    DIT,
    (Naming((r"blocks\.\d+\.attn\.proj_qkv\.(vid|all)\.", r"vid_in\.proj\."), (Variant("SeedVR2"),)),),
    name="SeedVR2",
    takes=(
        r"blocks\.\d+\.attn\.proj_(qkv|out)\.(vid|txt|all)",
        r"blocks\.\d+\.mlp\.(vid|txt|all)\.proj_(in_gate|in|out)",
    ),
    keeps=((r"vid_out\.proj", "is an output layer"), (r"vid_in\.proj", "embeds an input")),
    # the only two texts that it is asked with, encoded
    companions=(
        Companion("positive_conditioning", "pos_emb.pt", (58, 5120), _SOURCE),
        Companion("negative_conditioning", "neg_emb.pt", (64, 5120), _SOURCE),
    ),
    wanted=frozenset({"freqs"}),
    file_names=("seedvr2",),
    sharing=(
        # x goes to both in one expression, which multiplies their outputs
        SharingModule("comfy.ldm.seedvr.model:SwiGLUMLP.forward", (("proj_in_gate", "proj_in"),), ("ea056d6486e3",)),
    ),
)
