"""Files <-> named tensors: what a checkpoint is, what is wrong with it, and its weights under ComfyUI's names."""

from .checkpoint import Checkpoint, QuantizedLayer, Weights, open_checkpoint
from .errors import CheckpointError, Problem
from .tensor_info import TensorInfo

__all__ = ["Checkpoint", "CheckpointError", "Problem", "QuantizedLayer", "TensorInfo", "Weights", "open_checkpoint"]
