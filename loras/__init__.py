"""LoRAs in any spelling, any number, on any model: core's mathematics, our names and report. Needs ComfyUI."""

from .apply import AUTO, BYPASS, MERGE, MODES, apply_lora, places_of
from .bypass import add_beside, make_room, move, stackable
from .errors import LoRAError
from .file import read_lora
from .places import Places
from .spellings import spelled
from .translate import Translated, translate

__all__ = [
    "AUTO",
    "BYPASS",
    "MERGE",
    "MODES",
    "LoRAError",
    "Places",
    "Translated",
    "add_beside",
    "apply_lora",
    "make_room",
    "move",
    "places_of",
    "read_lora",
    "spelled",
    "stackable",
    "translate",
]
