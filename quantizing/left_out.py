"""What is set on a MODEL or CLIP that changes its results and is no weight, so that no file holds it."""

import torch
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY, TORCH_COMPILE_KWARGS

from ..calibration.recorder import WRAPPER_KEY as CALIBRATING
from ..common.compiled import is_compiled
from ..comparing.watch import WRAPPER_KEY as COMPARING
from ..loading.experts import WRAPPER as PAIRED
from ..loras import others_beside
from ..runtime.compiling.apply import KEY as COMPILING
from ..runtime.offload.apply import KEY as OFFLOADING
from ..runtime.sharing.apply import WRAPPER_KEY as SHARING

# wrappers and options with which a model gives the same results as without; core sets the last on every text encoder
NEUTRAL = frozenset(
    {
        CALIBRATING,
        COMPARING,
        COMPILING,
        PAIRED,
        OFFLOADING,
        SHARING,
        COMPILE_KEY,
        TORCH_COMPILE_KWARGS,
        "manual_cast_dtype",
    }
)
TRANSFORMER_OPTIONS = "transformer_options"


def left_out(patcher) -> list[str]:
    """Names of what was set on a ModelPatcher beside its weights and LoRAs, by whatever node."""
    options = {**patcher.model_options, **patcher.model_options.get(TRANSFORMER_OPTIONS, {})}
    wrappers = [key for held in patcher.wrappers.values() for key, listed in held.items() if listed]
    found = [
        *(name for name, held in patcher.object_patches.items() if not _is_weight_or_compiled(held)),
        *(f"the weight wrapper of {name}" for name in patcher.weight_wrapper_patches),
        *others_beside(patcher),
        *wrappers,
        *(name for name, value in options.items() if value and name != TRANSFORMER_OPTIONS),
        *(["scheduled LoRAs (hooks)"] if patcher.hook_patches or patcher.forced_hooks else []),
    ]
    return [name for name in dict.fromkeys(map(str, found)) if name not in NEUTRAL]


def left_out_of_clip(clip) -> list[str]:
    """As `left_out`, for a comfy.sd.CLIP."""
    return [*left_out(clip.patcher), *(["the last layer (CLIP Set Last Layer)"] if clip.layer_idx is not None else [])]


def _is_weight_or_compiled(held: object) -> bool:
    """A weight is in the file; torch.compile leaves the results as they are."""
    return isinstance(held, torch.Tensor) or is_compiled(held)
