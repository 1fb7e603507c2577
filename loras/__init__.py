"""LoRAs in any spelling, any number, on any model: core's mathematics, our names and report. Needs ComfyUI."""

from .apply import AUTO, BYPASS, MERGE, MODES, apply_lora, places_of
from .baking import in_weights, others_beside
from .bypass import add_beside, make_room, move, stackable
from .errors import LoRAError
from .experts import EXPERT_CHOICES, part_for
from .file import read_lora
from .key_formats import spelled
from .targets import Places, name_of
from .translate import Translated, translate

__all__ = [
    "AUTO",
    "BYPASS",
    "EXPERT_CHOICES",
    "MERGE",
    "MODES",
    "LoRAError",
    "Places",
    "Translated",
    "add_beside",
    "apply_lora",
    "in_weights",
    "make_room",
    "move",
    "name_of",
    "others_beside",
    "part_for",
    "places_of",
    "read_lora",
    "spelled",
    "stackable",
    "translate",
]
