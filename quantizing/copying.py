"""Copies a model without its tensors: new modules and Parameter objects over the same memory.

Core stores a model's state on its modules and moves a weight by replacing its Parameter's data. So two models may share
tensors, but never a module or a Parameter.
"""

import copy
import functools
import types
from collections import OrderedDict

import torch
from comfy_kitchen.tensor import QuantizedTensor

from ..core.private import WHILE_LOADED
from ..linear.parameters import lasting, lasting_class

MAPPINGS = (dict, OrderedDict)


class Copier:
    """Copies modules and their containers; each object once, wherever it is referred to. replaced: module -> the copy
    to use for it. The originals have to outlive the copier."""

    def __init__(self, replaced: dict[torch.nn.Module, torch.nn.Module]):
        self._made: dict[int, object] = {id(module): made for module, made in replaced.items()}

    def of(self, value):
        """The copy of a module, Parameter, bound method, partial or container of these; other objects, tensors
        included, are returned as they are."""
        if id(value) in self._made:
            return self._made[id(value)]
        if isinstance(value, torch.nn.Module):
            return self._module(value)
        if isinstance(value, torch.nn.Parameter):
            return self._parameter(value)
        if isinstance(value, types.MethodType):
            return types.MethodType(value.__func__, self.of(value.__self__))
        if isinstance(value, functools.partial):
            return functools.partial(self.of(value.func), *self.of(value.args), **self.of(value.keywords))
        if type(value) in MAPPINGS:
            made = self._made[id(value)] = type(value)()
            made.update((key, self.of(item)) for key, item in value.items())
            return made
        if type(value) is list:
            made = self._made[id(value)] = []
            made.extend(map(self.of, value))
            return made
        if type(value) in (tuple, set):
            return type(value)(map(self.of, value))
        return value

    def _module(self, module: torch.nn.Module) -> torch.nn.Module:
        quantized = any(isinstance(parameter, QuantizedTensor) for parameter in module._parameters.values())
        kind = lasting_class(type(module)) if quantized else type(module)
        made = self._made[id(module)] = kind.__new__(kind)
        made.__dict__.update(
            {name: self.of(value) for name, value in module.__dict__.items() if name not in WHILE_LOADED}
        )
        return made

    def _parameter(self, parameter: torch.nn.Parameter) -> torch.nn.Parameter:
        made = lasting(parameter)
        if made is parameter:  # a tensor of GGUF's gives itself when it is detached
            made = copy.copy(parameter)
        self._made[id(parameter)] = made
        return made
