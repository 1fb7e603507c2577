"""What is written is numbers."""

import torch

from ..checkpoints.plain_values import why_no_number
from .errors import ConvertError

DAMAGED = "The model is damaged: download it again, or merge it again."


def check(values: torch.Tensor, place: str) -> None:
    """Raise ConvertError for values that are no numbers. Codes of one byte are not looked at."""
    what = why_no_number(values) if values.itemsize > 1 else ""
    if what:
        raise ConvertError(f"{place} contains {what}. {DAMAGED}")
