"""Makes a copy of a loaded MODEL or CLIP whose selected linear layers are quantized."""

import functools
from collections.abc import Callable, Hashable

import comfy.model_management
import comfy.utils
import torch
from comfy.patcher_extension import WrappersMP

from ..calibration.recorder import WRAPPER_KEY
from ..common.log import log
from ..layer_rules import Selection
from ..linear import operations
from ..linear.layers import is_ours, linear_layers
from ..loading.common import announce, compute_dtype
from ..rounding.curvature import Curvatures
from ..schemes import DIT, T5, SchemeChoice
from ..schemes.plan import Plan
from .copying import Copier
from .errors import QuantizeError
from .layer import Job, dense_layer, keeps_codes, quantize_layer
from .patchers import successor, with_loras_in_weights
from .planning import plan_for
from .rounder import FLOAT32, MERGED, NEAREST, READ, Rounder
from .rounder import sentences as rounded
from .smoother import Smoother, sentences
from .stored_format import stored_format
from .time_left import TimeLeft
from .weights import is_foreign, shape_of

# the submodule that a selection's names are relative to: in a MODEL, in a CLIP
DIFFUSION_MODEL = "diffusion_model"
WHOLE = ""
# (layers done, layers to do, seconds left or None if that is not known): called before each layer
Progress = Callable[[int, int, float | None], None]


def quantize_model(
    patcher,
    selection: Selection,
    choice: SchemeChoice | None = None,
    smoother: Smoother | None = None,
    rounder: Rounder | None = None,
    progress: Progress = lambda done, total, left: None,
):
    """ModelPatcher -> a new ModelPatcher with the layers of `selection` (names in the diffusion model) quantized and
    their LoRAs merged. The given model is unchanged; everything that is not quantized is shared with it.

    smoother: smooths the layers that gain from it. rounder: None to round to the nearest. A model that was made with a
    calibration records none. Works layer by layer in float32 on the patcher's device; the result is on its offload
    device, its plan in `.model.x2v_plan`. Raises QuantizeError, CalibrationError, UnknownSchemeError,
    SchemeMismatchError or NoKernelError.
    """
    choice, rounder = choice or SchemeChoice(), rounder or Rounder(NEAREST)
    rounder.check()
    patcher = with_loras_in_weights(patcher)
    fp16_is_safe = torch.float16 in patcher.model.model_config.supported_inference_dtypes
    dtype = compute_dtype(choice, patcher.load_device, fp16_is_safe)
    plan = _plan(patcher, selection, DIT, choice, dtype)
    calibrations = {id(user.calibration): user.calibration for user in (smoother, rounder) if user and user.calibration}
    for calibration in calibrations.values():
        layers = linear_layers(patcher.model.get_submodule(DIFFUSION_MODEL))
        calibration.check_fits({name: layers[name].in_features for name in selection.formats})
    made = _quantized(patcher, DIFFUSION_MODEL, selection, plan, rounder, smoother, progress)
    made.model.manual_cast_dtype, made.model.current_patcher = dtype, None
    if calibrations:
        for kind in (WrappersMP.OUTER_SAMPLE, WrappersMP.APPLY_MODEL):
            made.remove_wrappers_with_key(kind, WRAPPER_KEY)
    if smoother is not None:
        plan.notes += sentences(plan, selection.formats, smoother.calibration.maxima, smoother.smoothable)
    _tell(plan, rounded(plan, selection.formats))
    plan.calibrated = rounder.calibrated()
    again = functools.partial(quantize_model, selection=selection, choice=choice, smoother=smoother, rounder=rounder)
    return _reloadable(made, patcher, again)


def quantize_clip(
    clip,
    selection: Selection,
    choice: SchemeChoice | None = None,
    rounder: Rounder | None = None,
    progress: Progress = lambda done, total, left: None,
):
    """As `quantize_model`, for a comfy.sd.CLIP; names in the selection are those in `clip.cond_stage_model`."""
    made, rounder = clip.clone(), rounder or Rounder(NEAREST)
    rounder.check()
    made.patcher = _quantize_encoders(clip.patcher, selection, choice or SchemeChoice(), rounder, progress)
    made.cond_stage_model = made.patcher.model
    return made


def _quantize_encoders(patcher, selection, choice, rounder, progress: Progress = lambda done, total, left: None):
    patcher = with_loras_in_weights(patcher)
    dtype = compute_dtype(choice, patcher.load_device, fp16_is_safe=False)
    plan = _plan(patcher, selection, T5, choice, dtype)
    made = _quantized(patcher, WHOLE, selection, plan, rounder, None, progress)
    _tell(plan, rounded(plan, selection.formats))
    again = functools.partial(_quantize_encoders, selection=selection, choice=choice, rounder=rounder)
    return _reloadable(made, patcher, again)


def _tell(plan: Plan, notes: list[str]) -> None:
    """Add notes to the plan's, and log all of them."""
    plan.notes += notes
    if plan.notes:
        log.info("%s: %s", plan.title, " ".join(plan.notes))


def _plan(patcher, selection: Selection, component: str, choice: SchemeChoice, dtype: torch.dtype) -> Plan:
    if not selection.formats:
        raise QuantizeError(
            f"No layer of this model ({selection.family}) is to be quantized. "
            "Name some in the node's layers: 'pattern = format'."
        )
    title = f"{type(patcher.model).__name__}, quantized"
    return plan_for(title, selection.formats.values(), component, choice, patcher.load_device, dtype)


@torch.no_grad()  # older cores load weights that ask for a gradient
def _quantized(patcher, part: str, selection: Selection, plan: Plan, rounder: Rounder, smoother, progress: Progress):
    jobs = _jobs(patcher, part, selection, smoother, rounder)
    _make_room(jobs, plan.machine.live)
    bar, curvatures = comfy.utils.ProgressBar(len(jobs)), Curvatures()
    made_by = operations(plan)
    replaced: dict[torch.nn.Module, torch.nn.Module] = {}
    works = [None if keeps_codes(job) else job.rounder.work(job.name, shape_of(job.layer), job.target) for job in jobs]
    time_left = TimeLeft(works, plan.machine.live)
    for done, job in enumerate(jobs):
        comfy.model_management.throw_exception_if_processing_interrupted()
        progress(done, len(jobs), time_left.after(done))
        replaced[job.layer] = quantize_layer(job, plan, made_by, patcher.offload_device, curvatures)
        bar.update(1)
    for layer in linear_layers(patcher.model).values():
        if layer not in replaced and is_foreign(layer):
            replaced[layer] = dense_layer(layer, plan.compute_dtype, plan.machine.live, patcher.offload_device)
    copier = Copier(replaced)
    model = copier.of(patcher.model)
    model.device = patcher.offload_device
    model.x2v_plan = plan
    # layers that are not quantized have to cast: activations have the plan's dtype
    for module in model.modules():
        if hasattr(module, "comfy_cast_weights"):
            module.comfy_cast_weights = True
    made = successor(patcher, model, copier, baked={job.key for job in jobs if job.patches})
    announce(plan)
    return made


def _jobs(patcher, part: str, selection: Selection, smoother: Smoother | None, rounder: Rounder) -> list[Job]:
    """A job for every selected layer, and for layers of this pack that keep their present format; those that got the
    same inputs one after the other."""
    jobs = []
    for name, layer in linear_layers(patcher.model.get_submodule(part)).items():
        target = selection.formats.get(name)
        key = f"{part}.{name}.weight".lstrip(".")
        if target is not None:
            jobs.append(Job(name, key, layer, target, tuple(patcher.patches.get(key, ())), smoother, rounder))
        elif is_ours(layer):
            jobs.append(Job(name, key, layer, stored_format(layer)))
    places: dict[Hashable, int] = {}
    return sorted(jobs, key=lambda job: places.setdefault(rounder.recorded.key(job.name), len(places)))


def _make_room(jobs: list[Job], device: torch.device) -> None:
    """Have core unload other models if the device has no room for the largest layer."""
    if device.type != "cpu":
        comfy.model_management.free_memory(max(_room(job, device) for job in jobs), device)


def _room(job: Job, device: torch.device) -> int:
    """Bytes on the device while the layer is read, its LoRAs are merged and it is rounded."""
    rows, columns = shape = shape_of(job.layer)
    copies = MERGED if job.patches else READ
    return max(copies * rows * columns * FLOAT32, job.rounder.room(job.name, shape, job.target, device))


def _reloadable(made, patcher, again: Callable):
    """Let core reload the model (for torch.compile or a second GPU): load the source of `patcher` with its LoRAs, then
    call `again` on it."""
    loader = patcher.cached_patcher_init
    made.cached_patcher_init = None if loader is None else (_reload, (loader, dict(patcher.patches), again))
    return made


def _reload(loader: tuple, patches: dict[str, list], again: Callable, disable_dynamic: bool = False):
    source = loader[0](*loader[1], disable_dynamic=disable_dynamic)
    source = source[loader[2]] if len(loader) > 2 else source
    source.patches = {key: list(listed) for key, listed in patches.items()}
    return again(source)
