"""A LoRA's file -> its tensors."""

from pathlib import Path

import comfy.utils
import torch

from .errors import LoRAError


def read_lora(path: Path) -> dict[str, torch.Tensor]:
    """Raises LoRAError for a file that is not there or cannot be read."""
    if not path.is_file():
        raise LoRAError(f"There is no LoRA at {path}. Check the path.")
    try:
        return comfy.utils.load_torch_file(str(path), safe_load=True)
    except Exception as error:  # core's reader passes on whatever the file makes its libraries raise
        raise LoRAError(f"{path.name} is damaged or is no LoRA. Download it again.") from error
