"""LoRAs merged into weights on the way, by ComfyUI's own code. Needs ComfyUI on the path."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import comfy.lora
import torch

from ..loras import LoRAError, LoRATargets, name_of, read_lora, tensors_for, translate
from .errors import ConvertError
from .outputs import Output


class LoRAs:
    """What LoRA files add to a model's tensors. `outputs`: all of them, as ComfyUI calls them, without a prefix.
    expert: of Wan 2.2's, that the model is; None if its name does not say.

    Raises ConvertError for a file that cannot be read or has nothing for this model.
    """

    def __init__(self, files: Sequence[tuple[Path, float]], outputs: Mapping[str, Output], expert: str | None = None):
        targets = LoRATargets({name: output.shape for name, output in outputs.items()})
        self.notes: list[str] = []
        self._patches: dict[str, list[tuple]] = {}
        for file, strength in files:
            try:
                whole = read_lora(file)
                tensors, parts = tensors_for(file.name, whole, expert)
                found = translate(file.name, tensors, targets)
            except LoRAError as error:
                raise ConvertError(str(error)) from error
            for target, patch in found.patches.items():
                rows, change = (*target[1:], None)[:2] if isinstance(target, tuple) else (None, None)
                self._patches.setdefault(name_of(target), []).append((strength, patch, 1.0, rows, change))
            self.notes.append(f"{file.name} merged into {len(found.patches)} tensors at strength {strength:g}")
            self.notes += [*whole.notes, *parts, *found.lines(targets)]

    def __contains__(self, name: str) -> bool:
        return name in self._patches

    def merged(self, name: str, values: torch.Tensor) -> torch.Tensor:
        """float32 values of the tensor called `name`, overwritten -> with the LoRAs in them, float32."""
        return comfy.lora.calculate_weight(self._patches[name], values, name)
