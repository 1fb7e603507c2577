"""LoRAs merged into weights on the way, by ComfyUI's own code. Needs ComfyUI on the path."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import comfy.lora
import torch

from ..loras import LoRAError, Places, read_lora, translate
from .errors import ConvertError
from .outputs import Output


class LoRAs:
    """What LoRA files add to a model's tensors. `outputs`: all of them, as ComfyUI calls them, without a prefix.

    Raises ConvertError for a file that cannot be read or has nothing for this model.
    """

    def __init__(self, files: Sequence[tuple[Path, float]], outputs: Mapping[str, Output]):
        places = Places({name: output.shape for name, output in outputs.items()})
        self.notes: list[str] = []
        self._patches: dict[str, list[tuple]] = {}
        for file, strength in files:
            try:
                found = translate(file.name, read_lora(file), places)
            except LoRAError as error:
                raise ConvertError(str(error)) from error
            for name, patch in found.patches.items():
                self._patches.setdefault(name, []).append((strength, patch, 1.0, None, None))
            self.notes.append(f"{file.name} merged into {len(found.patches)} tensors at strength {strength:g}")
            self.notes += found.lines(places)

    def __contains__(self, name: str) -> bool:
        return name in self._patches

    def merged(self, name: str, values: torch.Tensor) -> torch.Tensor:
        """float32 values of the tensor called `name`, overwritten -> with the LoRAs in them, float32."""
        return comfy.lora.calculate_weight(self._patches[name], values, name)
