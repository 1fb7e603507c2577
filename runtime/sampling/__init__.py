"""The sampler patch: a precision schedule, a NaN guard and a step report, and LightX2V's distilled sigmas."""

from .nan_guard import NonFiniteError
from .patch import patched
from .schedule import PrecisionSchedule, ScheduleError
from .step_report import StepReport

__all__ = [
    "NonFiniteError",
    "PrecisionSchedule",
    "ScheduleError",
    "StepReport",
    "patched",
]
