"""Everything about each family of models, as data: how its files are told, what its tensors are called, which of its
layers are quantized. A new family is a file beside this one and a row of FAMILIES."""

from .add_ons import ADD_ONS, WITH_BLOCKS
from .clip_vision import CLIP
from .ernie_image import ERNIE_IMAGE
from .family import DIT, UNKNOWN, Family, plain
from .flux import FLUX, FLUX_2, LONGCAT
from .hunyuan_video import HUNYUAN_VIDEO
from .ltx import LTX_2, LTX_VIDEO
from .minimax_h3 import MINIMAX_H3, PRUNED
from .other_models import OTHER_MODELS
from .qwen_image import QWEN_IMAGE
from .seedvr2 import SEEDVR2
from .t5 import UMT5
from .wan import WAN
from .z_image import Z_IMAGE

# the first whose signs are there counts: the more special one first
FAMILIES: tuple[Family, ...] = (
    *WITH_BLOCKS,
    WAN,
    QWEN_IMAGE,
    Z_IMAGE,
    HUNYUAN_VIDEO,
    FLUX_2,
    LONGCAT,
    FLUX,
    LTX_2,
    LTX_VIDEO,
    PRUNED,
    MINIMAX_H3,
    SEEDVR2,
    ERNIE_IMAGE,
    UMT5,
    CLIP,
    *OTHER_MODELS,
    *ADD_ONS,
)

UNKNOWN_DIT = plain(DIT, "unknown DiT")
UNRECOGNISED = plain(
    UNKNOWN,
    "not a model that is known here",
    elsewhere="The loaders here take diffusion models such as Wan's, umt5 and CLIP vision encoders: pick one, or try "
    "ComfyUI's own loaders.",
)
