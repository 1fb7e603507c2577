"""LoRA files of any key format on any model: key names and reports are ours, the arithmetic is core's."""

from .apply import AUTO, BYPASS, MERGE, MODES, apply_lora, targets_of
from .baking import in_weights, others_beside
from .bypass import add_beside, make_room, move, stackable
from .errors import LoRAError
from .experts import EXPERT_CHOICES, tensors_for
from .file import read_lora
from .key_formats import split_key
from .targets import LoRATargets, name_of
from .translate import Translated, translate

__all__ = [
    "AUTO",
    "BYPASS",
    "EXPERT_CHOICES",
    "MERGE",
    "MODES",
    "LoRAError",
    "LoRATargets",
    "Translated",
    "add_beside",
    "apply_lora",
    "in_weights",
    "make_room",
    "move",
    "name_of",
    "others_beside",
    "read_lora",
    "split_key",
    "stackable",
    "targets_of",
    "tensors_for",
    "translate",
]
