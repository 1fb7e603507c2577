"""Records a calibration during ordinary sampling, with hooks on the model's linear layers."""

import functools

import torch
from comfy.patcher_extension import WrappersMP
from comfy_execution.utils import get_executing_context

from ..linear.arguments import multiplied
from ..linear.layers import hooked, linear_layers
from .calibration import Calibration
from .shared_samples import SharedSamples

WRAPPER_KEY = "x2v_quant.calibrate"
INFINITY = float("inf")


def calibrated(patcher, tokens: int = 0):
    """ModelPatcher -> (a clone that records while it samples, the Calibration that it fills). tokens: the most that are
    recorded of each layer's inputs, 0 for none.

    Records every linear layer of any loader: core's, mixed precision, GGUF's and ours. Other clones record nothing.
    """
    calibration = Calibration()
    recorder = Recorder(calibration, tokens)
    patcher = patcher.clone()
    patcher.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, WRAPPER_KEY, recorder.sample)
    # around the whole model: not every diffusion model of core runs the wrappers of its forward, and a compiled one
    # would trace them
    patcher.add_wrapper_with_key(WrappersMP.APPLY_MODEL, WRAPPER_KEY, recorder.call)
    return patcher, calibration


class Recorder:
    """Fills `calibration`. What a node recorded is dropped if it fails or is interrupted, so that nothing counts twice
    when it runs again. tokens: see `calibrated`."""

    def __init__(self, calibration: Calibration, tokens: int = 0):
        self._calibration, self._limit = calibration, tokens
        self._node: tuple[str, str] | None = None
        self._before = calibration.snapshot()
        self._sampling = False

    def sample(self, executor, *args, **kwargs):
        """OUTER_SAMPLE wrapper; a node may call it several times."""
        context = get_executing_context()
        node = (context.prompt_id, context.node_id) if context else None
        if node is None or node != self._node:
            self._node, self._before = node, self._calibration.snapshot()
        self._sampling = True
        try:
            return self._or_restore(self._before, executor, args, kwargs)
        finally:
            self._sampling = False

    def call(self, executor, *args, **kwargs):
        """APPLY_MODEL wrapper."""
        if self._sampling:  # which restores what was before all of its calls; a snapshot of each would take memory
            return self._recorded(executor, *args, **kwargs)
        return self._or_restore(self._calibration.snapshot(), functools.partial(self._recorded, executor), args, kwargs)

    def _recorded(self, executor, *args, **kwargs):
        record = functools.partial(self.record, SharedSamples(self._limit))
        with hooked(linear_layers(executor.class_obj.diffusion_model), before=record):
            result = executor(*args, **kwargs)
        self._calibration.calls += 1
        return result

    def _or_restore(self, before: Calibration, executor, args, kwargs):
        try:
            return executor(*args, **kwargs)
        except BaseException:
            self._calibration.restore(before)
            raise

    def record(self, samples: SharedSamples, name: str, layer: torch.nn.Module, args, kwargs) -> None:
        """Takes in one call of the layer `name`, before it is computed. samples: of this call of the model."""
        x = multiplied(args, kwargs).reshape(-1, layer.in_features)
        if not x.shape[0]:
            return
        maxima, length = (torch.linalg.vector_norm(x, order, dim=0, dtype=torch.float32) for order in (INFINITY, 2))
        self._calibration.add(name, maxima, length.square(), x.shape[0])
        if self._limit:
            self._calibration.inputs[name] = samples.add(self._calibration.inputs.get(name), x)
