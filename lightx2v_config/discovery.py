"""The files of everything that a configuration asks for."""

from dataclasses import dataclass, field
from pathlib import Path

from ..checkpoints.expert_names import HIGH, LOW
from .config import Config
from .diffusion import Found, find_dit, has_experts
from .encoders import TEXT, VISION, find_encoder, find_tokenizer_folder, takes_pictures
from .search_paths import Places


@dataclass
class Parts:
    """`high` is the only diffusion model if `low` is None. `notes`: sentences about what is not as it was asked."""

    high: Found
    low: Found | None = None
    t5: Found | None = None
    clip: Found | None = None
    tokenizer: Path | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def found(self) -> dict[str, Found]:
        """Output -> what it is loaded from."""
        first = "MODEL" if self.low is None else "high-noise MODEL"
        outputs = {first: self.high, "low-noise MODEL": self.low, "CLIP": self.t5, "CLIP_VISION": self.clip}
        return {output: found for output, found in outputs.items() if found is not None}


def find_parts(config: Config, places: Places, text_encoder: bool = True, vision_encoder: bool = True) -> Parts:
    """text_encoder, vision_encoder: whether to look for them. Raises ConfigError or CheckpointError."""
    if has_experts(config, places):
        parts = Parts(find_dit(config, places, HIGH), find_dit(config, places, LOW))
    else:
        parts = Parts(find_dit(config, places))
    if text_encoder:
        parts.t5 = find_encoder(config, places, TEXT)
        parts.tokenizer = find_tokenizer_folder(config, places)
        if parts.t5 is None:
            parts.notes.append(_absent("CLIP", TEXT, places, "Load Quantized T5 or CLIPLoader"))
    if vision_encoder and config.on("use_image_encoder", True) and takes_pictures(parts.high.checkpoint):
        parts.clip = find_encoder(config, places, VISION)
        if parts.clip is None:
            parts.notes.append(_absent("CLIP_VISION", VISION, places, "Load Quantized CLIP or CLIPVisionLoader"))
    parts.notes += [found.note for found in parts.found.values() if found.note]
    return parts


def _absent(output: str, encoder, places: Places, nodes: str) -> str:
    return f"{output} is empty: there is no {encoder.words} in {places.words(encoder.kind)}. Use {nodes}."
