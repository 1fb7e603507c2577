"""LTX-Video and LTX-2."""

from .family import DIT, Family, LightX2VNames, Naming, Variant

LTX_2 = Family(
    DIT,
    (
        Naming(
            (r"transformer_blocks\.\d+\.audio_attn1\.to_q\.",),
            (Variant("LTX-2", lightx2v=LightX2VNames(prefix="model.diffusion_model.")),),
        ),
    ),
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
)
