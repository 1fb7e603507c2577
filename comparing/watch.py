"""Watches the linear layers of a model at some steps of its sampler. Needs ComfyUI on the path."""

from collections.abc import Callable, Collection

import torch
from comfy.patcher_extension import WrappersMP

from ..linear.arguments import multiplied
from ..linear.layers import hooked, linear_layers

WRAPPER_KEY = "x2v_quant.compare"
# (step, the layer's name, the layer, its input [..., K])
See = Callable[[int, str, torch.nn.Module, torch.Tensor], None]


class Watch:
    """Calls `see` right after the first call of every linear layer in each of `steps` (from 0). The layer's weights are
    on the device then, with LoRAs applied. The sampler's callback has to set `step`."""

    def __init__(self, steps: Collection[int], see: See):
        self.step = 0
        self._steps = steps
        self._see = see
        self._seen: set[tuple[int, str]] = set()

    def on(self, patcher):
        """ModelPatcher -> a clone whose layers are watched while it samples."""
        patcher = patcher.clone()
        # around the whole model, as a calibration records it
        patcher.add_wrapper_with_key(WrappersMP.APPLY_MODEL, WRAPPER_KEY, self._call)
        return patcher

    def _call(self, executor, *args, **kwargs):
        if self.step not in self._steps:
            return executor(*args, **kwargs)
        with hooked(linear_layers(executor.class_obj.diffusion_model), after=self._first_call):
            return executor(*args, **kwargs)

    def _first_call(self, name: str, layer: torch.nn.Module, args, kwargs, output) -> None:
        if (self.step, name) not in self._seen:
            self._seen.add((self.step, name))
            self._see(self.step, name, layer, multiplied(args, kwargs))
