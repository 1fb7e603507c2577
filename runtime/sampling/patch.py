"""The sampler patch: a clone of a MODEL with schedule, NaN guard and step report, whichever are switched on."""

from comfy.patcher_extension import WrappersMP

from ...linear.layers import our_layers
from .nan_guard import NanGuard
from .recorder import StepRecorder
from .run import Follower, Precision
from .schedule import PrecisionSchedule
from .step_report import StepReport

KEY = "x2v_quant.sampler"


def patched(
    patcher, schedule: PrecisionSchedule | None = None, nan_guard: bool = False, report: StepReport | None = None
):
    """ModelPatcher -> a clone with the given features; `patcher` itself if none is given. `report` is filled while
    samplers run. Nothing stays on the model between calls, so other clones are not affected.

    Raises ScheduleError for a schedule that the model cannot follow. With nan_guard the clone raises NonFiniteError
    while it samples.
    """
    schedule = schedule or PrecisionSchedule()
    if not (schedule or nan_guard or report is not None):
        return patcher
    if schedule:
        schedule.check(our_layers(patcher.model.diffusion_model))
    clone = patcher.clone()
    follower = Follower(schedule)
    # the first wrapper is the outermost: the others need the run that it sets
    clone.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, follower.sample)
    if report is not None:
        recorder = StepRecorder(follower, report)
        clone.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, recorder.sample)
        clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, recorder.apply)
    if schedule:
        clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, Precision(follower).apply)
    if nan_guard:
        guard = NanGuard(follower)
        clone.add_wrapper_with_key(WrappersMP.PREDICT_NOISE, KEY, guard.predict)
        clone.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, guard.apply)
    return clone
