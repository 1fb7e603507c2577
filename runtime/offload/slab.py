"""The parameters of one block as one contiguous buffer: one copy takes them to the device."""

from collections.abc import Callable
from dataclasses import dataclass

import comfy.memory_management
import torch
from comfy.quant_ops import QuantizedTensor

from ...linear.parameters import lasting


@dataclass(frozen=True)
class Place:
    """A parameter of a module."""

    module: torch.nn.Module
    name: str

    @property
    def parameter(self) -> torch.nn.Parameter:
        return self.module._parameters[self.name]

    def put(self, parameter: torch.nn.Parameter) -> None:
        self.module._parameters[self.name] = parameter


def places_in(block: torch.nn.Module, wanted: Callable[[torch.nn.Parameter], bool]) -> list[Place]:
    """The parameters of a block that are `wanted`, each once."""
    found, seen = [], set()
    for module in block.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and id(parameter) not in seen and wanted(parameter):
                seen.add(id(parameter))
                found.append(Place(module, name))
    return found


def addresses(places: list[Place]) -> list[int]:
    """Where their bytes lie: another answer means that somebody else has put other values there."""
    tensors = [tensor for place in places for tensor in _tensors(place.parameter)]
    return [tensor.data_ptr() for tensor in tensors]


def nbytes(places: list[Place]) -> int:
    """Of a buffer for them, with core's alignment of every tensor in it."""
    return comfy.memory_management.vram_aligned_size([place.parameter for place in places])


def views(places: list[Place], buffer: torch.Tensor) -> list[torch.nn.Parameter]:
    """Parameters like those at `places`, with their values in `buffer`: uint8 [nbytes or more]."""
    tensors = comfy.memory_management.interpret_gathered_like([place.parameter for place in places], buffer)
    return [lasting(tensor) for tensor in tensors]


def pack(places: list[Place], buffer: torch.Tensor) -> None:
    """Copy the values of `places` into `buffer`."""
    targets = comfy.memory_management.interpret_gathered_like([place.parameter for place in places], buffer)
    for place, target in zip(places, targets, strict=True):
        _copy(place.parameter, target)


def _copy(source: torch.Tensor, target: torch.Tensor) -> None:
    for there, here in zip(_tensors(source), _tensors(target), strict=True):
        here.copy_(there)


def _tensors(parameter: torch.Tensor) -> list[torch.Tensor]:
    """The plain tensors of a parameter."""
    if isinstance(parameter, QuantizedTensor):
        return [getattr(parameter, name) for name in parameter.__tensor_flatten__()[0]]
    return [parameter]
