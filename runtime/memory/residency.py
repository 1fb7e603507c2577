"""The residency of a tensor: whether its bytes are on the device, pinned, in RAM or in a file."""

from collections.abc import Callable, Iterator

import torch
from comfy.quant_ops import QuantizedTensor

from ...core.private import is_file_slice, is_page_locked


def plain_tensors(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The plain tensors in a tensor: codes and scales of a quantized one, else the tensor itself."""
    if isinstance(tensor, QuantizedTensor):
        for name in tensor.__tensor_flatten__()[0]:
            yield from plain_tensors(getattr(tensor, name))
    else:
        yield tensor


def residency_of(tensor: torch.Tensor, in_file: Callable[[int], bool]) -> str | None:
    """A key of RESIDENCIES for a plain tensor; None on the meta device. in_file: from `file_mappings`."""
    if tensor.device.type == "meta":
        return None
    if tensor.device.type != "cpu":
        return "device"
    if is_page_locked(tensor):
        return "pinned"
    return "disk" if is_file_slice(tensor) or in_file(tensor.data_ptr()) else "ram"
