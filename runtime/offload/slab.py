"""The parameters of one block packed into one contiguous buffer, so that one copy takes them to the device."""

from collections.abc import Callable
from dataclasses import dataclass

import comfy.memory_management
import torch
from comfy.quant_ops import QuantizedTensor

from ...linear.parameters import lasting


@dataclass(frozen=True)
class ParameterRef:
    """A parameter by its module and its name there, so that it can be replaced."""

    module: torch.nn.Module
    name: str

    @property
    def parameter(self) -> torch.nn.Parameter:
        return self.module._parameters[self.name]

    def put(self, parameter: torch.nn.Parameter) -> None:
        self.module._parameters[self.name] = parameter


def parameters_in(block: torch.nn.Module, wanted: Callable[[torch.nn.Parameter], bool]) -> list[ParameterRef]:
    """References to the parameters of a block for which `wanted` holds, each parameter once."""
    found, seen = [], set()
    for module in block.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and id(parameter) not in seen and wanted(parameter):
                seen.add(id(parameter))
                found.append(ParameterRef(module, name))
    return found


def addresses(refs: list[ParameterRef]) -> list[int]:
    """The data pointers of the parameters. If they change, someone else has replaced values."""
    tensors = [tensor for ref in refs for tensor in _tensors(ref.parameter)]
    return [tensor.data_ptr() for tensor in tensors]


def nbytes(refs: list[ParameterRef]) -> int:
    """Size in bytes of a buffer that holds the parameters, each tensor aligned as core does."""
    return comfy.memory_management.vram_aligned_size([ref.parameter for ref in refs])


def views(refs: list[ParameterRef], buffer: torch.Tensor) -> list[torch.nn.Parameter]:
    """New parameters like those at `refs` whose memory is `buffer`: uint8 [nbytes(refs) or more]."""
    tensors = comfy.memory_management.interpret_gathered_like([ref.parameter for ref in refs], buffer)
    return [lasting(tensor) for tensor in tensors]


def pack(refs: list[ParameterRef], buffer: torch.Tensor) -> None:
    """Copy the values of `refs` into `buffer`."""
    targets = comfy.memory_management.interpret_gathered_like([ref.parameter for ref in refs], buffer)
    for ref, target in zip(refs, targets, strict=True):
        _copy(ref.parameter, target)


def _copy(source: torch.Tensor, target: torch.Tensor) -> None:
    for there, here in zip(_tensors(source), _tensors(target), strict=True):
        here.copy_(there)


def _tensors(parameter: torch.Tensor) -> list[torch.Tensor]:
    """The plain tensors of a parameter: codes and scales of a quantized one."""
    if isinstance(parameter, QuantizedTensor):
        return [getattr(parameter, name) for name in parameter.__tensor_flatten__()[0]]
    return [parameter]
