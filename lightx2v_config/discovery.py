"""Finds all models that a configuration asks for."""

from dataclasses import dataclass, field
from pathlib import Path

from ..checkpoints.expert_names import HIGH, LOW
from .config import Config
from .diffusion import Found, find_dit, has_experts
from .encoders import TEXT, VISION, find_encoder, find_tokenizer_folder, takes_pictures
from .search_paths import SearchPaths


@dataclass
class Models:
    """The models of a configuration. `high`: the only diffusion model if `low` is None. `notes`: sentences about
    differences from what the configuration asks for."""

    high: Found
    low: Found | None = None
    t5: Found | None = None
    clip: Found | None = None
    tokenizer: Path | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def found(self) -> dict[str, Found]:
        """Output of the node -> the model that it is loaded from."""
        first = "MODEL" if self.low is None else "high-noise MODEL"
        outputs = {first: self.high, "low-noise MODEL": self.low, "CLIP": self.t5, "CLIP_VISION": self.clip}
        return {output: found for output, found in outputs.items() if found is not None}


def find_models(config: Config, paths: SearchPaths, text_encoder: bool = True, vision_encoder: bool = True) -> Models:
    """text_encoder, vision_encoder: whether to look for these. Raises ConfigError or CheckpointError."""
    if has_experts(config, paths):
        models = Models(find_dit(config, paths, HIGH), find_dit(config, paths, LOW))
    else:
        models = Models(find_dit(config, paths))
    if text_encoder:
        models.t5 = find_encoder(config, paths, TEXT)
        models.tokenizer = find_tokenizer_folder(config, paths)
        if models.t5 is None:
            models.notes.append(_absent("CLIP", TEXT, paths, "Load Quantized T5 or CLIPLoader"))
    if vision_encoder and config.on("use_image_encoder", True) and takes_pictures(models.high.checkpoint):
        models.clip = find_encoder(config, paths, VISION)
        if models.clip is None:
            models.notes.append(_absent("CLIP_VISION", VISION, paths, "Load Quantized CLIP or CLIPVisionLoader"))
    models.notes += [found.note for found in models.found.values() if found.note]
    return models


def _absent(output: str, encoder, paths: SearchPaths, nodes: str) -> str:
    return f"{output} is empty: there is no {encoder.words} in {paths.words(encoder.kind)}. Use {nodes}."
