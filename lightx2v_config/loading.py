"""The files that were found -> what core passes around."""

from ..loading import load_clip_vision, load_dit, load_t5
from ..loading.experts import load_experts
from ..runtime.offload import OffloadSettings
from ..runtime.offload.apply import offloaded, offloaded_encoder
from ..schemes import SchemeChoice
from .discovery import Parts


def load_parts(parts: Parts, scheme: SchemeChoice, offload: OffloadSettings, embeddings: list[str] | None = None):
    """(high-noise MODEL, low-noise MODEL, CLIP or None, CLIP_VISION or None); of a model of one expert the first two
    are the same. embeddings: folders that prompts take embeddings from. Raises as the loaders do."""
    high = str(parts.high.path)
    if parts.low is None:
        high = low = offloaded(load_dit(high, scheme, unquantized=True), offload)
    else:
        pair = load_experts(high, str(parts.low.path), scheme, unquantized=True)
        high, low = (offloaded(model, offload) for model in pair)
    clip = clip_vision = None
    if parts.t5 is not None:
        tokenizer = None if parts.tokenizer is None else str(parts.tokenizer)
        clip = load_t5(str(parts.t5.path), scheme, tokenizer, embeddings, unquantized=True)
        clip = offloaded_encoder(clip, offload.encoder("t5"))
    if parts.clip is not None:
        clip_vision = load_clip_vision(str(parts.clip.path), scheme, unquantized=True)
        clip_vision = offloaded_encoder(clip_vision, offload.encoder("clip"))
    return high, low, clip, clip_vision
