"""The table of ComfyUI's loaders that ours can replace, and when they cannot."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PureWindowsPath
from typing import Any

from ..families import FAMILIES
from ..families.family import CLIP_VISION, DIT

Values = Mapping[str, Any]


@dataclass(frozen=True)
class StandIn:
    """The replacement of node class `theirs` by `ours`. `widgets`: theirs, in the order of a file's values. `renamed`:
    their input -> ours, in the order of our values. `added`: our further widgets and their values. `dropped`: widgets
    that ours does not have. `why_not`: their values -> why ours cannot replace the node, "" if it can."""

    theirs: str
    ours: str
    widgets: tuple[str, ...]
    renamed: dict[str, str]
    why_not: Callable[[Values], str]
    added: dict[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """The input of their node that names the file."""
        return next(iter(self.renamed))

    @property
    def dropped(self) -> list[str]:
        return [name for name in self.widgets if name not in self.renamed]


def is_called_like(name: Any, kind: str) -> bool:
    """Whether a file's name, without folders (separated by \\ or /), begins as those of a family of `kind` do; derived
    models have other names."""
    patterns = "|".join(pattern for family in FAMILIES if family.kind == kind for pattern in family.file_names)
    return re.match(patterns, PureWindowsPath(str(name)).name, re.IGNORECASE) is not None


def no_dit(values: Values) -> str:
    name = values.get("unet_name")
    return "" if is_called_like(name, DIT) else f"the name {name} is none of a model that Load Quantized DiT reads"


def no_t5(values: Values) -> str:
    if values.get("type") != "wan":
        return f"its type is {values.get('type')}, and Load Quantized T5 reads only wan (umt5)"
    if values.get("device", "default") != "default":
        return f"its device is {values['device']}, and Load Quantized T5 lets ComfyUI choose"
    return ""


def no_clip_vision(values: Values) -> str:
    name = values.get("clip_name")
    return "" if is_called_like(name, CLIP_VISION) else f"the name {name} is not that of Wan's CLIP vision encoder"


STAND_INS = {
    stand_in.theirs: stand_in
    for stand_in in (
        StandIn("UNETLoader", "X2VLoadDiT", ("unet_name", "weight_dtype"), {"unet_name": "model_name"}, no_dit),
        StandIn(
            "CLIPLoader",
            "X2VLoadT5",
            ("clip_name", "type", "device"),
            {"clip_name": "text_encoder_name"},
            no_t5,
            added={"tokenizer": "auto"},
        ),
        StandIn("CLIPVisionLoader", "X2VLoadCLIPVision", ("clip_name",), {"clip_name": "clip_name"}, no_clip_vision),
    )
}
# loaders that none of ours can replace
OTHERS = {
    "CheckpointLoaderSimple": "it loads model, text encoder and VAE from one file",
    "DualCLIPLoader": "it loads two text encoders, ours load one",
    "TripleCLIPLoader": "it loads three text encoders, ours load one",
    "QuadrupleCLIPLoader": "it loads four text encoders, ours load one",
}
# class -> what ComfyUI displays
NAMES = {
    "UNETLoader": "Load Diffusion Model",
    "CLIPLoader": "Load CLIP",
    "CLIPVisionLoader": "Load CLIP Vision",
    "CheckpointLoaderSimple": "Load Checkpoint",
    "DualCLIPLoader": "DualCLIPLoader",
    "TripleCLIPLoader": "TripleCLIPLoader",
    "QuadrupleCLIPLoader": "QuadrupleCLIPLoader",
    "X2VLoadDiT": "Load Quantized DiT",
    "X2VLoadT5": "Load Quantized T5",
    "X2VLoadCLIPVision": "Load Quantized CLIP",
}
