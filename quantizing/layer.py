"""Quantizes one linear layer of a loaded model, in float32 on the plan's device."""

from dataclasses import dataclass

import comfy.lora
import comfy.ops
import torch

from ..formats import FORMATS, SMOOTHED, family
from ..formats.convert import convert
from ..linear.parameters import lasting
from ..rounding.curvature import Curvatures
from ..schemes.plan import Plan
from .errors import QuantizeError
from .rounder import NEAREST, Rounder
from .smoother import Smoother
from .stored_format import in_our_layout, stored_format
from .weights import read, shape_of

BY_NEAREST = Rounder(NEAREST)


@dataclass(frozen=True)
class Job:
    """A layer to quantize. `name`: in the plan. `key`: of its weight in the model. `target`: a name in FORMATS.
    `patches`: LoRAs to merge first. `smoother`: None to leave the layer unsmoothed. `rounder`: how it is rounded."""

    name: str
    key: str
    layer: torch.nn.Module
    target: str
    patches: tuple = ()
    smoother: Smoother | None = None
    rounder: Rounder = BY_NEAREST


def quantize_layer(
    job: Job, plan: Plan, operations: type, rests_on: torch.device, curvatures: Curvatures | None = None
) -> torch.nn.Module:
    """Assign the layer in `plan` and return a layer of `operations` with the quantized weight, on device `rests_on`.
    curvatures: shared by the layers of one model.

    A weight that already has the target format keeps its codes unless smoothing improves it; a smoothed weight stays
    smoothed. Raises QuantizeError for NaN or infinite values and for a shape that the format cannot store;
    NoKernelError as `Plan.assign`.
    """
    weight, bias = _with_own_codes(job, plan) or _from_float(job, plan, curvatures)
    # one after the other: comfy_kitchen dequantizes a weight that is asked for both at once
    return _layer(operations, job.name, weight.to(rests_on).to(dtype=plan.compute_dtype), bias)


def keeps_codes(job: Job) -> bool:
    """Whether the weight is in the target's format already, and stays as it is, if no smoothing improves it."""
    stored = stored_format(job.layer)
    return stored is not None and family(stored) == family(job.target) and not job.patches


def _with_own_codes(job: Job, plan: Plan):
    """(quantized weight with its own codes, bias); None if the layer has another format, a LoRA is merged or smoothing
    improves the weight."""
    kept = in_our_layout(job.layer) if keeps_codes(job) else None
    if kept is None:
        return None
    stored = stored_format(job.layer)
    entry = plan.assign(job.name, stored, shape_of(job.layer))
    if not FORMATS[stored].smooth and job.smoother is not None:
        dense, _ = read(job.layer, plan.machine.live)
        if job.smoother.pre_quant_scale(job.name, dense, entry.choice.format) is not None:
            return None
    return convert(kept, entry.choice.format), job.layer.bias


def _from_float(job: Job, plan: Plan, curvatures: Curvatures | None):
    """(quantized weight, bias) from the layer's weight in float32, dequantized if it has another format."""
    stored = stored_format(job.layer)
    dense, bias = read(job.layer, plan.machine.live)
    if job.patches:
        dense = comfy.lora.calculate_weight(list(job.patches), dense.clone(), job.key)
    _check(dense, job, plan)
    entry = plan.assign(job.name, job.target, tuple(dense.shape))
    factor = _pre_quant_scale(job, dense, entry.choice.format)
    if factor is not None:
        entry = plan.assign(job.name, SMOOTHED[entry.choice.format], tuple(dense.shape))
    weight, entry.rounding = _quantized(dense, entry.choice.format, job, plan, factor, curvatures)
    # a float weight has no format of its own: nothing was converted
    entry.file_format = stored or entry.choice.format
    entry.added_error = _distance(weight, dense) if stored else 0.0
    return weight, bias


def _pre_quant_scale(job: Job, dense: torch.Tensor, stored: str) -> torch.Tensor | None:
    """The calibrated factor [K], else the one that the layer already has; None if the format cannot be smoothed."""
    if stored not in SMOOTHED:
        return None
    factor = None if job.smoother is None else job.smoother.pre_quant_scale(job.name, dense, stored)
    stored = stored_format(job.layer)
    if factor is None and stored in FORMATS and FORMATS[stored].smooth:
        return job.layer.weight._params.pre_quant_scale
    return factor


def dense_layer(layer: torch.nn.Module, dtype: torch.dtype, device: torch.device, rests_on: torch.device):
    """Core's own linear layer with the weight of another pack's `layer` in `dtype`, which core can then patch."""
    weight, bias = read(layer, device)
    made = comfy.ops.manual_cast.Linear(*reversed(weight.shape), bias is not None, device="meta", dtype=dtype)
    made.weight = lasting(weight.to(device=rests_on, dtype=dtype))
    made.bias = None if bias is None else lasting(bias.to(device=rests_on, dtype=dtype))
    return made.eval()


def _quantized(dense: torch.Tensor, format_name: str, job: Job, plan: Plan, factor, curvatures: Curvatures | None):
    try:
        return job.rounder.quantized(dense, job.name, format_name, plan.compute_dtype, factor, curvatures)
    except ValueError as error:
        raise QuantizeError(
            f"{plan.title}, layer {job.name}: {error}. Write the line '{job.name} = keep' into the node's layers."
        ) from error


def _check(dense: torch.Tensor, job: Job, plan: Plan) -> None:
    # both are NaN if any value is
    least, most = torch.aminmax(dense)
    if torch.isfinite(least) and torch.isfinite(most):
        return
    remedy = (
        "Take the LoRA off, or lower its strength."
        if job.patches
        else "The file is damaged or its training broke: load another one."
    )
    raise QuantizeError(f"{plan.title}, layer {job.name}: the weight contains NaN or infinite values. {remedy}")


def _distance(weight, dense: torch.Tensor) -> float:
    """Relative Frobenius distance of the quantized weight from `dense`."""
    back = weight.to(dtype=torch.float32).dequantize()
    return float(back.sub_(dense).norm() / dense.norm().clamp(min=1e-30))


def _layer(operations: type, name: str, weight, bias: torch.Tensor | None) -> torch.nn.Module:
    rows, columns = weight.shape
    made = operations.Linear(columns, rows, bias=False, device=torch.device("meta"))
    # as load_state_dict calls it for a layer of that name
    made._load_from_state_dict({f"{name}.weight": weight}, f"{name}.", {}, True, [], [], [])
    made.bias = None if bias is None else lasting(bias.to(weight.device))
    return made.eval()
