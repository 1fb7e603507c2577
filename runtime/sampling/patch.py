"""The patch: a clone of a MODEL with what is switched on, or the MODEL itself."""

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
    """ModelPatcher -> a clone that samples with what is given, or `patcher` itself if nothing is. `report` is filled
    while samplers run. Nothing is left on the model between its calls, so other branches of it know nothing of this.

    Raises ScheduleError for a schedule that the model cannot follow. Its clone raises NonFiniteError while sampling if
    nan_guard is on.
    """
    schedule = schedule or PrecisionSchedule()
    if not (schedule or nan_guard or report is not None):
        return patcher
    if schedule:
        schedule.check(our_layers(patcher.model.diffusion_model))
    clone = patcher.clone()
    follower = Follower(schedule)
    # the first is the outermost: the others find the run that it follows
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
