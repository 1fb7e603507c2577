"""Layers that get one tensor after the other: the first quantizes it, and the rest multiply what that one kept."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar

import torch

from .kernel import Kernel, Steps

Group = tuple[torch.nn.Module, ...]


class QuantizedInput:
    """A quantized input, with what tells whether another one is the same. It refers to the input, so that no other
    tensor can get its address."""

    def __init__(self, group: Group, input: torch.Tensor, steps: Steps, x: torch.Tensor, params):
        self.group, self.input, self.steps = group, input, steps
        self.quantized, self.rows, self.dtype = steps.quantize(x, params), x.shape[0], x.dtype
        self._marks = _marks(input)

    def is_of(self, group: Group, input: torch.Tensor, steps: Steps) -> bool:
        same = self.group is group and self.input is input and self.steps is steps
        return same and self._marks == _marks(input)


class SharedInputs:
    """One call of a model, in one thread. `quantized` and `reused`: how often an input of a group was quantized, and
    how often that was not needed."""

    def __init__(self):
        self.quantized = self.reused = 0
        self._groups: Mapping[torch.nn.Module, Group] = {}
        self._kept: QuantizedInput | None = None

    def enter(self, groups: Mapping[torch.nn.Module, Group]) -> None:
        """A module computes whose layers share inputs: layer -> the group it belongs to, in the order of the calls."""
        self._groups, self._kept = groups, None

    def leave(self) -> None:
        self._groups, self._kept = {}, None

    def linear(
        self,
        layer: torch.nn.Module,
        kernel: Kernel,
        input: torch.Tensor,
        rows_of: Callable[[torch.Tensor], torch.Tensor],
        weight,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        """What kernel.linear(rows_of(input), ...) of a quantized `weight` gives, bit for bit. rows_of: input [..., K]
        -> [M, K] in the compute dtype."""
        group, steps = self._groups.get(layer), kernel.steps
        # groups were made for the layers' own kernels
        if group is None or steps is None or kernel is not layer.kernel or input.numel() == 0:
            return kernel.linear(rows_of(input), weight._qdata, weight._params, bias)
        kept = self._kept
        if kept is not None and kept.is_of(group, input, steps):
            self.reused += 1
        else:
            self._kept = None  # freed before the next one is made
            kept = self._kept = QuantizedInput(group, input, steps, rows_of(input), weight._params)
            self.quantized += 1
        if layer is group[-1]:
            self._kept = None
        return steps.multiply(kept.quantized, kept.rows, kept.dtype, weight._qdata, weight._params, bias)


# set by what switches sharing on, around each call of a model
ACTIVE: ContextVar[SharedInputs | None] = ContextVar("x2v_quant.shared_inputs", default=None)


def _marks(input: torch.Tensor) -> tuple:
    """What changes if the tensor is given other memory, or is written to. Tensors made in inference mode do not count
    how often they were written to: there only modules take part whose code was read (families.family.SharingModule)."""
    version = None if input.is_inference() else input._version
    return input.data_ptr(), input.shape, input.stride(), input.dtype, version
