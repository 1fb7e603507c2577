"""Records a calibration during ordinary sampling: hooks on a model's linear layers, there while it is called."""

import torch
from comfy.patcher_extension import WrappersMP
from comfy_execution.utils import get_executing_context

from ..linear.arguments import multiplied
from ..linear.layers import hooked, linear_layers
from .calibration import Calibration

WRAPPER_KEY = "x2v_quant.calibrate"


def calibrated(patcher):
    """ModelPatcher -> (a clone that records while it samples, the Calibration that it fills).

    Every linear layer is recorded, of any loader: those of core's operations, mixed precision, GGUF's and ours. The
    input MODEL and its other branches record nothing.
    """
    calibration = Calibration()
    recorder = Recorder(calibration)
    patcher = patcher.clone()
    patcher.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, WRAPPER_KEY, recorder.sample)
    # around the whole model: not every diffusion model of core runs the wrappers of its forward, and a compiled one
    # would trace them
    patcher.add_wrapper_with_key(WrappersMP.APPLY_MODEL, WRAPPER_KEY, recorder.call)
    return patcher, calibration


class Recorder:
    """Fills `calibration`. A node that ends with an error or is interrupted leaves nothing in it, so that it is not
    counted twice when it runs again."""

    def __init__(self, calibration: Calibration):
        self._calibration = calibration
        self._node: tuple[str, str] | None = None
        self._before = calibration.so_far()

    def sample(self, executor, *args, **kwargs):
        """A wrapper of a guider's `outer_sample`, which a node may call several times."""
        context = get_executing_context()
        node = (context.prompt_id, context.node_id) if context else None
        if node is None or node != self._node:
            self._node, self._before = node, self._calibration.so_far()
        return self._or_set_back(self._before, executor, args, kwargs)

    def call(self, executor, *args, **kwargs):
        """A wrapper of BaseModel.apply_model."""
        with hooked(linear_layers(executor.class_obj.diffusion_model), before=self.record):
            result = self._or_set_back(self._calibration.so_far(), executor, args, kwargs)
        self._calibration.calls += 1
        return result

    def _or_set_back(self, before: Calibration, executor, args, kwargs):
        try:
            return executor(*args, **kwargs)
        except BaseException:
            self._calibration.set_back(before)
            raise

    def record(self, name: str, layer: torch.nn.Module, args, kwargs) -> None:
        """Takes in one call of the layer `name`, before it is computed."""
        x = multiplied(args, kwargs).reshape(-1, layer.in_features)
        if x.shape[0]:
            maxima, length = (
                torch.linalg.vector_norm(x, order, dim=0, dtype=torch.float32) for order in (float("inf"), 2)
            )
            self._calibration.add(name, maxima, length.square(), x.shape[0])
