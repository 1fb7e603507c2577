"""Unquantized tensors in another type than the source's."""

from collections.abc import Iterable, Iterator

import torch

from ..checkpoints.plain_values import why_no_number
from .errors import ConvertError
from .finite import check

OTHER_TYPE = "Keep it in another type: --keep-as bf16, --keep-as fp32, or the source's without --keep-as."


def cast(parts: Iterable[torch.Tensor], dtype: torch.dtype, place: str) -> Iterator[torch.Tensor]:
    """A tensor's values as `dtype`, a part at a time. place: file and key, for the error.

    Raises ConvertError for NaN and infinity, for a value beyond the largest of `dtype`, and once all have come if
    every one of them was rounded to zero.
    """
    there = left = False
    for values in parts:
        check(values.float() if values.itemsize == 1 else values, place)
        result = values.to(dtype)
        if result.dtype != values.dtype and why_no_number(result):
            raise ConvertError(
                f"{place} contains {_largest(values):g}, which {_name(dtype)} does not reach. {OTHER_TYPE}"
            )
        there, left = there or bool(values.any()), left or bool(result.any())
        yield result
    if there and not left:
        raise ConvertError(f"{place} contains only values that {_name(dtype)} rounds to zero. {OTHER_TYPE}")


def _largest(values: torch.Tensor) -> float:
    return float(values.double().abs().max())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
