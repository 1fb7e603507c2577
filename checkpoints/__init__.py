"""Files <-> named tensors: what a checkpoint is, what is wrong with it, and its weights under ComfyUI's names."""

from .checkpoint import Checkpoint, QuantizedLayer, Weights
from .errors import CheckpointError, Problem
from .folder import is_part, part_names
from .opening import open_checkpoint
from .outline import Outline, read_outline
from .tensor_info import TensorInfo

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Outline",
    "Problem",
    "QuantizedLayer",
    "TensorInfo",
    "Weights",
    "is_part",
    "open_checkpoint",
    "part_names",
    "read_outline",
]
