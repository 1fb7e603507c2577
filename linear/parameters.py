"""Parameters with quantized tensors that core may move and replace inside and outside of torch's inference mode.

torch.nn.Parameter detaches its tensor. A QuantizedTensor (wrapper tensor) made outside inference mode cannot be
detached inside it ("Cannot set version_counter for inference tensor"). Nodes run inside, but core also unloads models
outside. So a new wrapper is made in inference mode whenever one becomes a parameter; its tensors are not copied.
"""

import functools

import torch
from comfy_kitchen.tensor import QuantizedTensor


def lasting(tensor: torch.Tensor) -> torch.nn.Parameter:
    """A parameter without gradient that shares the memory of `tensor` and works in and outside inference mode."""
    if not isinstance(tensor, QuantizedTensor):
        return torch.nn.Parameter(tensor, requires_grad=False)
    with torch.inference_mode():
        wrapper = QuantizedTensor(tensor._qdata, tensor._layout_cls, tensor._params)
        return torch.nn.Parameter(wrapper, requires_grad=False)


class LastingParameters:
    """Mixin for modules: everything that is assigned to the module or moved in it becomes a `lasting` parameter."""

    def register_parameter(self, name, param):
        """torch.nn.Module's method, which assignments also use."""
        outside = isinstance(param, QuantizedTensor) and not param.is_inference()
        super().register_parameter(name, lasting(param) if outside else param)

    def _apply(self, fn, recurse=True):
        """torch.nn.Module's method with new parameters instead of new `.data`, which wrapper tensors cannot take."""
        if recurse:
            for child in self.children():
                child._apply(fn)
        with torch.inference_mode():
            for name, tensor in self._parameters.items():
                moved = None if tensor is None else fn(tensor)
                if moved is not tensor:
                    self._parameters[name] = lasting(moved)
            for name, tensor in self._buffers.items():
                self._buffers[name] = None if tensor is None else fn(tensor)
        return self


@functools.cache
def lasting_class(base: type[torch.nn.Module]) -> type[torch.nn.Module]:
    """A subclass of `base` with the mixin and the same name; `base` itself if it has the mixin."""
    if issubclass(base, LastingParameters):
        return base
    return type(base.__name__, (LastingParameters, base), {"__module__": base.__module__})
