"""What is wrong with unquantized tensors: types that no weight has, values that are no numbers."""

from collections.abc import Mapping

import torch

from ..common.limits import SMALL_TENSOR_BYTES
from .tensor_info import TensorInfo

INTEGERS = ("bool", "int16", "int32", "int64")
# how names end that are counted in integers: positions, flags and steps that no forward multiplies by
COUNTED = ("position_ids", "num_batches_tracked", "__index_timestep_zero__", "step", "steps", "num_updates", "epoch")
WEIGHTS = ("weight", "bias")


def is_no_weight(key: str, info: TensorInfo) -> bool:
    """Whether a tensor that stays unquantized has a type that norms, biases and weights never have."""
    end = key.rpartition(".")[2]
    return info.dtype in INTEGERS and end not in COUNTED and (end in WEIGHTS or info.shape not in ((), (1,)))


def not_numbers(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Name -> "NaN" or "infinity", of those that hold one and have values."""
    found = {name: why_no_number(tensor) for name, tensor in tensors.items() if not tensor.is_meta}
    return {name: what for name, what in found.items() if what}


def is_small(tensor: torch.Tensor) -> bool:
    return not tensor.is_meta and tensor.nbytes <= SMALL_TENSOR_BYTES


def why_no_number(tensor: torch.Tensor) -> str:
    """ "NaN", "infinity", or "" for a tensor that holds neither."""
    if not tensor.is_floating_point() or not tensor.numel():
        return ""
    # one pass at the speed of the memory, and NaN is both the least and the largest
    least, largest = torch.aminmax(tensor.float() if tensor.itemsize == 1 else tensor)
    if bool(least.isfinite() and largest.isfinite()):
        return ""
    return "NaN" if bool(largest.isnan()) else "infinity"


def note(found: Mapping[str, str]) -> list[str]:
    """One sentence on what `not_numbers` found, none for nothing."""
    if not found:
        return []
    name, what = next(iter(found.items()))
    more = f" (and {len(found) - 1} more tensors like it)" if len(found) > 1 else ""
    return [
        f"{name} contains {what}{more}: the model gives noise or black. Download the file again, or take another one"
    ]
