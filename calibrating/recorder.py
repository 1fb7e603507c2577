"""Records a calibration during ordinary sampling: hooks on a model's linear layers, there while it is called."""

import torch
from comfy.patcher_extension import WrappersMP

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
    patcher = patcher.clone()
    # around the whole model: not every diffusion model of core runs the wrappers of its forward, and a compiled one
    # would trace them
    patcher.add_wrapper_with_key(WrappersMP.APPLY_MODEL, WRAPPER_KEY, recording(calibration))
    return patcher, calibration


def recording(calibration: Calibration):
    """A wrapper of BaseModel.apply_model that fills `calibration`."""

    def record(executor, *args, **kwargs):
        hooks = [
            module.register_forward_pre_hook(_hook(calibration, name.replace(COMPILED, "")))
            for name, module in executor.class_obj.diffusion_model.named_modules()
            if is_linear(module)
        ]
        try:
            # a compiled model would run as it was traced, without the hooks
            with torch.compiler.set_stance("force_eager"):
                result = executor(*args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()
        calibration.calls += 1
        return result

    return record


def is_linear(module: torch.nn.Module) -> bool:
    """Whether it multiplies by a weight [out_features, in_features]: core's quantized layers are no torch.nn.Linear."""
    return hasattr(module, "in_features") and hasattr(module, "out_features") and hasattr(module, "weight")


def _hook(calibration: Calibration, layer: str):
    def record(module, args):
        x = args[0].reshape(-1, module.in_features)
        if x.shape[0]:
            maxima, length = (
                torch.linalg.vector_norm(x, order, dim=0, dtype=torch.float32) for order in (float("inf"), 2)
            )
            calibration.add(layer, maxima, length.square(), x.shape[0])

    return record
