"""Parameters that core may move, replace and put back in and outside of torch's inference mode, in any order.

A wrapper tensor (QuantizedTensor) made outside that mode cannot be detached inside it ("Cannot set version_counter for
inference tensor"), and torch.nn.Parameter detaches what it wraps. The executor runs inside, but core unloads models
outside it as well, so a wrapper is made anew inside wherever one becomes a parameter. What it wraps is not copied.
"""

import functools

import torch
from comfy_kitchen.tensor import QuantizedTensor


def lasting(tensor: torch.Tensor) -> torch.nn.Parameter:
    """A parameter without a gradient over the memory of `tensor`, in either mode."""
    if not isinstance(tensor, QuantizedTensor):
        return torch.nn.Parameter(tensor, requires_grad=False)
    with torch.inference_mode():
        wrapper = QuantizedTensor(tensor._qdata, tensor._layout_cls, tensor._params)
        return torch.nn.Parameter(wrapper, requires_grad=False)


class LastingParameters:
    """Mixed into a module: whatever core assigns to it or moves in it becomes such a parameter."""

    def register_parameter(self, name, param):
        """torch.nn.Module's, through which an assignment goes too."""
        outside = isinstance(param, QuantizedTensor) and not param.is_inference()
        super().register_parameter(name, lasting(param) if outside else param)

    def _apply(self, fn, recurse=True):
        """torch.nn.Module's with new parameters in place of new data for the old ones, which wrappers do not take."""
        if recurse:
            for child in self.children():
                child._apply(fn)
        with torch.inference_mode():
            for name, held in self._parameters.items():
                moved = None if held is None else fn(held)
                if moved is not held:
                    self._parameters[name] = lasting(moved)
            for name, held in self._buffers.items():
                self._buffers[name] = None if held is None else fn(held)
        return self


@functools.cache
def lasting_class(base: type[torch.nn.Module]) -> type[torch.nn.Module]:
    """A subclass, of the same name, for copies of a module whose own class core cannot move so."""
    if issubclass(base, LastingParameters):
        return base
    return type(base.__name__, (LastingParameters, base), {"__module__": base.__module__})
