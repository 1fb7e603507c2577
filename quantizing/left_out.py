"""Lists what a saved file leaves out: settings on a MODEL or CLIP that change its results and are no weights."""

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

# wrappers and options that do not change results; core sets the last on every text encoder
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
    """Names of everything that nodes have set on a ModelPatcher beside weights and LoRAs."""
    options = {**patcher.model_options, **patcher.model_options.get(TRANSFORMER_OPTIONS, {})}
    wrappers = [key for patch in patcher.wrappers.values() for key, listed in patch.items() if listed]
    found = [
        *(name for name, patch in patcher.object_patches.items() if not _is_weight_or_compiled(patch)),
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


def _is_weight_or_compiled(patch: object) -> bool:
    """Whether an object patch is a weight, which the file has, or a compiled module, which changes no results."""
    return isinstance(patch, torch.Tensor) or is_compiled(patch)
