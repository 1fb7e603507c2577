"""The linear layers of a model from any loader, and a context manager for hooks on modules."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext

import comfy.ops
import torch
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from ..common.compiled import plain_name
from .quant_linear import QuantLinear


def linear_layers(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """Name in the file (also for compiled models) -> linear layer: core's classes and all subclasses of torch's."""
    return {plain_name(name): module for name, module in model.named_modules() if is_linear(module)}


def our_layers(model: torch.nn.Module) -> dict[str, QuantLinear]:
    """Those of `linear_layers` that run on this pack's kernels."""
    return {name: layer for name, layer in linear_layers(model).items() if is_ours(layer)}


def is_linear(module: torch.nn.Module) -> bool:
    """Whether the module is a linear layer whose weight [N, K] is loaded."""
    if isinstance(module, NonDynamicallyQuantizableLinear):  # torch's attention takes its weight past its forward
        return False
    # core's quantized layers are no torch.nn.Linear
    mixed = isinstance(module, comfy.ops.CastWeightBiasOp) and type(module).__name__ == "Linear"
    return (isinstance(module, torch.nn.Linear) or mixed) and module.weight is not None


def is_ours(layer: torch.nn.Module) -> bool:
    """Whether the layer runs on one of this pack's kernels."""
    return isinstance(layer, QuantLinear) and layer.kernel is not None


@contextmanager
def hooked(
    modules: Mapping[str, torch.nn.Module],
    before: Callable[..., None] | None = None,
    after: Callable[..., None] | None = None,
    eager: bool = True,
    always: bool = False,
) -> Iterator[None]:
    """While the context is open, before(name, module, args, kwargs) is called before each call of one of `modules`
    (name -> module), and after(name, module, args, kwargs, output) after it. always: call `after` with output None if
    the module raises. eager: run compiled code uncompiled, which would else skip the hooks."""
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
