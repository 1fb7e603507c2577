"""Models that no row describes: which of their layers are taken, by name and shape. The reasons by name also say why a
layer outside the rules of a known family is kept."""

import re

from ..checkpoints.embedding import NAMES as EMBEDDING

UNKNOWN = "unknown family"

# a weight with a side below this saves no memory, and some are gates with one row per head
SMALLEST = 128
# what the matmuls of most libraries ask for
MULTIPLE = 16

# two-dimensional weights that no linear layer multiplies: not even an override takes them
TABLES = (
    (EMBEDDING, "is an embedding, a table that is looked up"),
    (re.compile(r"(.*\.)?(trainable_cond_mask|embed_tokens_per_layer)"), "is an embedding, a table that is looked up"),
    (re.compile(r"motion_encoder\..+"), "is multiplied by ComfyUI itself, not by a linear layer"),
)

BY_NAME = tuple(
    (re.compile(pattern, re.IGNORECASE), reason)
    for pattern, reason in (
        (r"(^|[._])[^\W_]*emb(ed\w*|s)?(?=[._]|$)", "embeds an input of the model"),
        (
            r"(^|\.)(\w+_)?(time|timestep|text|txt|img|image|patch|patchify|vector|guidance|caption|vision)"
            r"_(in|proj|projection|projector)(?=\.|$)",
            "projects an input of the model",
        ),
        (r"(^|[._])(mod|modulation|ada_?ln|adain|scale_shift)(?=[._\d]|$)", "modulates: one row per sample"),
        (r"norm(?=[._\d]|$)|(^|[._])ln(?=[._\d]|$)", "belongs to a norm"),
        (r"(^|\.)((lm_)?head|head_global|(final|last)_\w+)(?=\.|$)", "is an output layer"),
    )
)

# a number with more of the name behind it: time_embedding.0 is no block
IN_BLOCK = re.compile(r"(^|\.)\d+\.")


def table(name: str) -> str | None:
    """Why a weight is never quantized whoever asks for it, None if it may be."""
    return next((reason for pattern, reason in TABLES if pattern.fullmatch(name)), None)


def by_name(name: str) -> str | None:
    """What kind of layer it is that is kept, None if the name tells nothing."""
    return next((reason for pattern, reason in BY_NAME if pattern.search(name)), None)


def why_kept(name: str, shape: tuple[int, int]) -> str | None:
    """Why a layer of an unknown model with a weight of `shape` (N, K) is kept, None if it is quantized."""
    reason = by_name(name)
    if reason is None and not IN_BLOCK.search(name):
        reason = "stands outside the numbered blocks"
    if reason is None and min(shape) < SMALLEST:
        reason = f"has a side below {SMALLEST} ({shape[0]} x {shape[1]})"
    if reason is None and any(size % MULTIPLE for size in shape):
        reason = f"has a side that is no multiple of {MULTIPLE} ({shape[0]} x {shape[1]})"
    return reason
