"""The linear layers of a loaded model, whoever loaded it, and hooks on modules for as long as a block of code runs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext

import comfy.ops
import torch
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from ..common.compiled import plain_name
from .quant_linear import QuantLinear


def linear_layers(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Name as in the file, compiled or not -> every linear layer: core's own classes and everyone's subclasses of
    torch's."""
    return {plain_name(name): module for name, module in model.named_modules() if is_linear(module)}


def our_layers(model: torch.nn.Module) -> dict[str, QuantLinear]:
    """Those of `linear_layers` that this pack's kernels multiply."""
    return {name: layer for name, layer in linear_layers(model).items() if is_ours(layer)}


def is_linear(module: torch.nn.Module) -> bool:
    """Whether the module multiplies its input by a weight [N, K] that it has already."""
    if isinstance(module, NonDynamicallyQuantizableLinear):  # torch's attention takes its weight past its forward
        return False
    # core's quantized layers are no torch.nn.Linear
    mixed = isinstance(module, comfy.ops.CastWeightBiasOp) and type(module).__name__ == "Linear"
    return (isinstance(module, torch.nn.Linear) or mixed) and module.weight is not None


def is_ours(layer: torch.nn.Module) -> bool:
    """Whether one of this pack's kernels multiplies the layer."""
    return isinstance(layer, QuantLinear) and layer.kernel is not None


@contextmanager
def hooked(
    modules: Mapping[str, torch.nn.Module],
    before: Callable[..., None] | None = None,
    after: Callable[..., None] | None = None,
    eager: bool = True,
    always: bool = False,
) -> Iterator[None]:
    """Inside, before(name, module, args, kwargs) is called when one of `modules` (by name) is about to compute, and
    after(name, module, args, kwargs, output) behind it; `always`: behind one that fails too, with None. `eager`: what
    is compiled runs uncompiled meanwhile, or it would run as it was traced, without the hooks."""
    handles = []
    try:
        for name, module in modules.items():
            if before is not None:
                handles.append(module.register_forward_pre_hook(_named(before, name), with_kwargs=True))
            if after is not None:
                hook = _named(after, name)
                handles.append(module.register_forward_hook(hook, with_kwargs=True, always_call=always))
        with torch.compiler.set_stance("force_eager") if eager else nullcontext():
            yield
    finally:
        for handle in handles:
            handle.remove()


def _named(call: Callable[..., None], name: str) -> Callable[..., None]:
    return lambda *seen: call(name, *seen)
