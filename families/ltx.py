"""LTX-Video and LTX-2."""

from .family import DIT, Family, LightX2VNames, Naming, SharingModule, Variant

_PHASES = ("attn1", "attn2", "ff")
_SHARING = (
    # to_k and to_v get x without a context, else the context, and to_q's is kept no longer; norms come after all three
    SharingModule(
        "comfy.ldm.lightricks.model:CrossAttention.forward",
        (("to_q", "to_k", "to_v"),),
        ("482cf9cf7ff6", "b598013a1606"),
    ),
)
_ATTENTION = r"(to_[qkv]|to_out\.0)"

LTX_2 = Family(
    DIT,
    (
        Naming(
            (r"transformer_blocks\.\d+\.audio_attn1\.to_q\.",),
            (Variant("LTX-2", lightx2v=LightX2VNames(prefix="model.diffusion_model.")),),
        ),
    ),
    name="LTX-2",
    takes=(
        rf"transformer_blocks\.\d+\.(audio_)?attn[12]\.{_ATTENTION}",
        rf"transformer_blocks\.\d+\.(audio_to_video|video_to_audio)_attn\.{_ATTENTION}",
        r"transformer_blocks\.\d+\.(audio_)?ff\.net\.(0\.proj|2)",
    ),
    keeps=(
        (r"transformer_blocks\.(0|4[3-7])\..+", "is in one of the blocks that LightX2V leaves alone: 0, 43 to 47"),
        (r"transformer_blocks\.\d+\..+\.to_gate_logits", "is a gate: one row per head"),
    ),
    phases=_PHASES,
    sharing=_SHARING,
    beside=("vae.", "audio_vae.", "vocoder.", "text_embedding_projection."),
)

LTX_VIDEO = Family(
    DIT,
    (
        Naming(
            (r"transformer_blocks\.\d+\.attn1\.to_q\.", r"patchify_proj\.", r"adaln_single\."),
            (Variant("LTX-Video"),),
        ),
    ),
    name="LTX-Video",
    takes=(
        rf"transformer_blocks\.\d+\.attn[12]\.{_ATTENTION}",
        r"transformer_blocks\.\d+\.ff\.net\.(0\.proj|2)",
    ),
    file_names=("ltx",),
    phases=_PHASES,
    sharing=_SHARING,
)
