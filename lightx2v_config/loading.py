"""Loads the models of a configuration as core's MODEL, CLIP and CLIP_VISION."""

from ..loading.clip_vision import load_clip_vision
from ..loading.dit import load_dit
from ..loading.experts import load_experts
from ..loading.t5 import load_t5
from ..runtime.offload import OffloadSettings
from ..runtime.offload.apply import offloaded, offloaded_encoder
from ..schemes import SchemeChoice
from .discovery import Models


def load_models(models: Models, scheme: SchemeChoice, offload: OffloadSettings, embeddings: list[str] | None = None):
    """(high-noise MODEL, low-noise MODEL, CLIP or None, CLIP_VISION or None). Without experts the first two are the
    same MODEL. embeddings: folders for embeddings in prompts. Raises what the loaders raise."""
    high = str(models.high.path)
    if models.low is None:
        high = low = offloaded(load_dit(high, scheme, unquantized=True), offload)
    else:
        pair = load_experts(high, str(models.low.path), scheme, unquantized=True)
        high, low = (offloaded(model, offload) for model in pair)
    clip = clip_vision = None
    if models.t5 is not None:
        tokenizer = None if models.tokenizer is None else str(models.tokenizer)
        clip = load_t5(str(models.t5.path), scheme, tokenizer, embeddings, unquantized=True)
        clip = offloaded_encoder(clip, offload.encoder("t5"))
    if models.clip is not None:
        clip_vision = load_clip_vision(str(models.clip.path), scheme, unquantized=True)
        clip_vision = offloaded_encoder(clip_vision, offload.encoder("clip"))
    return high, low, clip, clip_vision
