"""Where one tensor's bytes are."""

from collections.abc import Callable, Iterator

import comfy.model_management
import torch
from comfy.quant_ops import QuantizedTensor


def parts(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """The plain tensors of which it consists: codes and scales of a quantized one."""
    if isinstance(tensor, QuantizedTensor):
        for name in tensor.__tensor_flatten__()[0]:
            yield from parts(getattr(tensor, name))
    else:
        yield tensor


def place(tensor: torch.Tensor, in_file: Callable[[int], bool]) -> str | None:
    """A key of PLACES for a plain tensor; None if it is on torch's meta device and thus nowhere.

    in_file: as `file_mappings` gives it.
    """
    if tensor.device.type == "meta":
        return None
    if tensor.device.type != "cpu":
        return "device"
    address, storage = tensor.data_ptr(), tensor.untyped_storage()
    if {address, storage.data_ptr()} & comfy.model_management.PINNED_MEMORY.keys() or tensor.is_pinned():
        return "pinned"
    if hasattr(storage, "_comfy_tensor_file_slice") or in_file(address):
        return "disk"
    return "ram"
