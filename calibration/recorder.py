"""Records a calibration during ordinary sampling: hooks on a model's linear layers, there while it is called."""

import torch
from comfy.patcher_extension import WrappersMP
from comfy_execution.utils import get_executing_context

from ..linear.arguments import multiplied
from .calibration import Calibration

WRAPPER_KEY = "x2v_quant.calibrate"
# what torch.compile puts before the names of a model's modules
COMPILED = "_orig_mod."


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
        hooks = [
            module.register_forward_pre_hook(_hook(self._calibration, name.replace(COMPILED, "")), with_kwargs=True)
            for name, module in executor.class_obj.diffusion_model.named_modules()
            if is_linear(module)
        ]
        try:
            # a compiled model would run as it was traced, without the hooks
            with torch.compiler.set_stance("force_eager"):
                result = self._or_set_back(self._calibration.so_far(), executor, args, kwargs)
        finally:
            for hook in hooks:
                hook.remove()
        self._calibration.calls += 1
        return result

    def _or_set_back(self, before: Calibration, executor, args, kwargs):
        try:
            return executor(*args, **kwargs)
        except BaseException:
            self._calibration.set_back(before)
            raise


def is_linear(module: torch.nn.Module) -> bool:
    """Whether it multiplies by a weight [out_features, in_features]: core's quantized layers are no torch.nn.Linear."""
    return hasattr(module, "in_features") and hasattr(module, "out_features") and hasattr(module, "weight")


def _hook(calibration: Calibration, layer: str):
    def record(module, args, kwargs):
        x = multiplied(args, kwargs).reshape(-1, module.in_features)
        if x.shape[0]:
            maxima, length = (
                torch.linalg.vector_norm(x, order, dim=0, dtype=torch.float32) for order in (float("inf"), 2)
            )
            calibration.add(layer, maxima, length.square(), x.shape[0])

    return record
