"""A LoRA's file -> its tensors."""

import os
from pathlib import Path

import comfy.utils
import torch

from .errors import LoRAError

# what an alpha, a rank or a weight may be
VALUES = (torch.Tensor, int, float)


def read_lora(path: Path) -> dict[str, torch.Tensor]:
    """Raises LoRAError for a file that is not there, cannot be read or holds no named tensors."""
    if not os.path.isfile(path):
        raise LoRAError(f"There is no LoRA at {path}. Check the path.")
    try:
        tensors = comfy.utils.load_torch_file(str(path), safe_load=True)
    except Exception as error:  # core's reader passes on whatever the file makes its libraries raise
        raise LoRAError(f"{path.name} is damaged or is no LoRA. Download it again.") from error
    if not isinstance(tensors, dict) or not all(isinstance(key, str) for key in tensors):
        raise LoRAError(f"{path.name} holds no table of named tensors. Pick the file of a LoRA.")
    # a .pth may have plain numbers, and things of whoever trained it
    return {key: torch.as_tensor(value) for key, value in tensors.items() if isinstance(value, VALUES)}
