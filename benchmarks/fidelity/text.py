"""The demo's text encoder: quantized by our loader, the original in core's classes. Needs ComfyUI on the path."""

from pathlib import Path

import comfy.model_management
import comfy.sd
import comfy.text_encoders.wan

from ...checkpoints import open_checkpoint
from ...loading.sizes import t5_sizes
from ...loading.t5 import load_t5
from ...loading.tokenizer import find_tokenizer
from .contestants import ORIGINAL
from .loaders import computing, our_choice


def load_text_encoder(kind: str, file: Path) -> comfy.sd.CLIP:
    """kind: "bf16" for the original, else a quantized file's."""
    if kind == ORIGINAL:
        return _original(file)
    return load_t5(str(file), our_choice(computing(comfy.model_management.text_encoder_device())))


def _original(file: Path) -> comfy.sd.CLIP:
    """As CLIPLoader builds it, but of the file's own size: core takes every umt5 for the one of 5.7 billion values."""
    weights = open_checkpoint(file).load()
    config = t5_sizes(weights.plain, file.name)

    class Target:
        clip = comfy.text_encoders.wan.te()
        tokenizer = comfy.text_encoders.wan.WanT5Tokenizer
        params = {}  # noqa: RUF012 - core's CLIP reads it as an attribute and copies it

    spiece, _ = find_tokenizer(file, weights.spiece_model, None, config["vocab_size"])
    clip = comfy.sd.CLIP(
        Target,
        tokenizer_data={"spiece_model": spiece},
        model_options={"umt5xxl_model_config": config, "dtype": weights.plain["shared.weight"].dtype},
    )
    missing, unused = clip.cond_stage_model.umt5xxl.transformer.load_state_dict(weights.plain, strict=False)
    if missing or unused:
        raise RuntimeError(f"{file.name}: {(missing + unused)[0]} has no counterpart in core's umt5")
    return clip
