"""Where the first number that is not finite comes from: hooks on every layer while one step is computed again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from comfy_kitchen.tensor import QuantizedTensor
from torch.utils._pytree import tree_leaves

from ...common.compiled import plain_name
from ...linear.layers import hooked, is_ours
from ...schemes.plan import Plan

# what a culprit may be
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
    """`kind`: LATENT or CONDITIONING that came in not finite; a WEIGHT that is not; a LAYER whose output is not though
    its input and weight are; something BETWEEN `before` and `layer`, whose input is not; ELSEWHERE: every layer's
    output is finite. `largest`: of the layer's finite |input|; `dtype`: its input's; `kernel` and `plan`: the name of
    the kernel that ran, and the plan of the model that the layer belongs to; None for a layer that is not quantized by
    this pack."""

    kind: str
    layer: str = ""
    before: str = ""
    largest: float = 0.0
    dtype: torch.dtype | None = None
    kernel: str | None = None
    plan: Plan | None = None


class NanSearch:
    """Watches one evaluation of a model, on every GPU that takes part."""

    def __init__(self):
        self.found: list[Culprit] = []

    def culprit(self, x: torch.Tensor) -> Culprit:
        """What was found. x: the latent that the sampler gave."""
        if not finite(x):
            return Culprit(LATENT)
        return self.found[0] if self.found else Culprit(ELSEWHERE)

    @contextmanager
    def watching(self, diffusion_model: torch.nn.Module, args, kwargs) -> Iterator[None]:
        """Inside, the layers of the model are watched. args, kwargs: what BaseModel.apply_model is called with, the
        latent first."""
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
    """One model, whose layers run one after the other: `before` is the last that was finite."""

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
    """Whether every floating tensor in nested containers is finite. Waits for the GPU."""
    tensors = [value for value in tree_leaves(values) if torch.is_tensor(value) and value.is_floating_point()]
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def finite_weight(module: torch.nn.Module) -> bool:
    """Whether the parameters of one layer are finite, as they lie there, without what core merges in while it runs."""
    return all(
        finite(parameter.dequantize() if isinstance(parameter, QuantizedTensor) else parameter)
        for parameter in module.parameters(recurse=False)
    )
