"""Ernie-Image, whose names are the same everywhere."""

from .family import DIT, ONLY_LIGHTX2V, Family, Naming, Variant

ERNIE_IMAGE = Family(
    DIT,
    (Naming((r"layers\.\d+\.self_attention\.to_q\.", r"layers\.\d+\.adaLN_sa_ln\."), (Variant("Ernie-Image"),)),),
    name="Ernie-Image",
    takes=(r"layers\.\d+\.self_attention\.(to_[qkv]|to_out\.0)", r"layers\.\d+\.mlp\.(gate_proj|up_proj|linear_fc2)"),
    keeps=(
        (r"final_linear|final_norm\.linear", f"is an output layer; {ONLY_LIGHTX2V}"),
        (r"adaLN_modulation\.1", f"modulates every block; {ONLY_LIGHTX2V}"),
        (r"text_proj|time_embedding\.linear_[12]", f"embeds an input; {ONLY_LIGHTX2V}"),
    ),
    lightx2v_also=(r"final_linear|final_norm\.linear|adaLN_modulation\.1|text_proj|time_embedding\.linear_[12]",),
    file_names=("ernie",),
)
