"""Finds the origin of the first non-finite value, with hooks on every layer while one step is computed again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from comfy_kitchen.tensor import QuantizedTensor
from torch.utils._pytree import tree_leaves

from ...common.compiled import plain_name
from ...linear.layers import hooked, is_ours
from ...schemes.plan import Plan

# the kinds of a culprit
LATENT, CONDITIONING, WEIGHT, LAYER, BETWEEN, ELSEWHERE = (
    "latent",
    "conditioning",
    "weight",
    "layer",
    "between",
    "elsewhere",
)


@dataclass(frozen=True)
class Culprit:
    """The origin of the first non-finite value.

    `kind`: LATENT or CONDITIONING: what the model got is not finite. WEIGHT: the weight of `layer` is not. LAYER: the
    output of `layer` is not, though its input and weight are. BETWEEN: the input of `layer` is not, though the output
    of the layer `before` it is. ELSEWHERE: every layer's output is finite. `largest`: of |input| of the layer; `dtype`:
    its input's. `kernel`, `plan`: name of the kernel that ran, and the model's plan; None if not quantized by us.
    """

    kind: str
    layer: str = ""
    before: str = ""
    largest: float = 0.0
    dtype: torch.dtype | None = None
    kernel: str | None = None
    plan: Plan | None = None


class NanSearch:
    """Watches one evaluation of the model on all GPUs, and collects culprits."""

    def __init__(self):
        self.found: list[Culprit] = []

    def culprit(self, x: torch.Tensor) -> Culprit:
        """The first culprit. x: the latent that the sampler passed to the model."""
        if not finite(x):
            return Culprit(LATENT)
        return self.found[0] if self.found else Culprit(ELSEWHERE)

    @contextmanager
    def watching(self, diffusion_model: torch.nn.Module, args, kwargs) -> Iterator[None]:
        """While the context is open, the model's layers are watched. args, kwargs: the arguments of
        BaseModel.apply_model, the latent first."""
        given = {key: value for key, value in kwargs.items() if key != "transformer_options"}
        conditioning = [args[2:4], given]
        if not finite(conditioning):
            self.found.append(Culprit(CONDITIONING))
        watch = _Watch(self.found)
        modules = diffusion_model.named_modules()
        leaves = {plain_name(name): module for name, module in modules if not any(True for _ in module.children())}
        with hooked(leaves, after=watch.look):
            yield


class _Watch:
    """The hooks on one model, whose layers run one after the other. `before`: the last layer with finite output."""

    def __init__(self, found: list[Culprit]):
        self.found = found
        self.before = ""

    def look(self, name: str, module: torch.nn.Module, args, kwargs, output) -> None:
        if self.found:
            return
        if finite(output):
            self.before = name
            return
        how = (module.kernel.name, module.model_plan) if is_ours(module) else (None, None)
        given = [tensor for tensor in tree_leaves((args, kwargs)) if torch.is_tensor(tensor)]
        here = LAYER if finite_weight(module) else WEIGHT
        kind = here if finite((args, kwargs)) else BETWEEN
        largest = max((float(tensor.abs().max()) for tensor in given if tensor.numel()), default=0.0)
        dtype = given[0].dtype if given else None
        self.found.append(Culprit(kind, name, self.before, largest, dtype, *how))


def finite(values) -> bool:
    """Whether every floating-point tensor in nested containers is finite. Waits for the GPU."""
    tensors = [value for value in tree_leaves(values) if torch.is_tensor(value) and value.is_floating_point()]
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def finite_weight(module: torch.nn.Module) -> bool:
    """Whether the parameters of one layer are finite, without LoRAs that core merges in on the fly."""
    return all(
        finite(parameter.dequantize() if isinstance(parameter, QuantizedTensor) else parameter)
        for parameter in module.parameters(recurse=False)
    )
