"""Ernie-Image, whose names are the same everywhere."""

from .family import DIT, Family, Naming, Variant

ERNIE_IMAGE = Family(
    DIT,
    (Naming((r"layers\.\d+\.self_attention\.to_q\.", r"layers\.\d+\.adaLN_sa_ln\."), (Variant("Ernie-Image"),)),),
)
