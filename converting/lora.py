"""LoRAs merged into weights on the way, by ComfyUI's own code. Needs ComfyUI on the path."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import comfy.lora
import comfy.lora_convert
import comfy.utils
import torch

from .errors import ConvertError

WEIGHT = ".weight"
# what may stand before a layer's name in a LoRA's keys; the second kind has "_" for every dot
PREFIXES = ("diffusion_model.", "model.diffusion_model.", "transformer.", "unet.", "")
FLAT_PREFIXES = ("lora_unet_", "lycoris_")


class LoRAs:
    """What LoRA files add to a model's tensors. `names`: of all its tensors, as ComfyUI calls them, without a prefix.

    Raises ConvertError for a file that cannot be read or has nothing for this model.
    """

    def __init__(self, files: Sequence[tuple[Path, float]], names: Iterable[str]):
        places = _places(names)
        self.notes: list[str] = []
        self._patches: dict[str, list[tuple]] = {}
        for file, strength in files:
            tensors = comfy.lora_convert.convert_lora(_read(file))
            found = comfy.lora.load_lora(tensors, places, log_missing=False)
            if not found:
                raise ConvertError(
                    f"{file.name} has nothing for this model: its keys are like {next(iter(tensors), 'none at all')}. "
                    "Pick a LoRA that was made for it."
                )
            for name, patch in found.items():
                self._patches.setdefault(name, []).append((strength, patch, 1.0, None, None))
            self.notes.append(f"{file.name} merged into {len(found)} tensors at strength {strength:g}")

    def __contains__(self, name: str) -> bool:
        return name in self._patches

    def merged(self, name: str, values: torch.Tensor) -> torch.Tensor:
        """float32 values of the tensor called `name`, overwritten -> with the LoRAs in them, float32."""
        return comfy.lora.calculate_weight(self._patches[name], values, name)


def _read(file: Path) -> dict[str, torch.Tensor]:
    if not file.is_file():
        raise ConvertError(f"There is no LoRA at {file}. Check the path.")
    try:
        return comfy.utils.load_torch_file(str(file), safe_load=True)
    except Exception as error:  # core's reader passes on whatever the file makes its libraries raise
        raise ConvertError(f"{file.name} is damaged or is no LoRA. Download it again.") from error


def _places(names: Iterable[str]) -> dict[str, str]:
    """What a LoRA may call a tensor -> its name."""
    places = {}
    for name in names:
        layer = name.removesuffix(WEIGHT)
        places.update({f"{prefix}{layer}": name for prefix in PREFIXES})
        places.update({f"{prefix}{layer.replace('.', '_')}": name for prefix in FLAT_PREFIXES})
    return places
