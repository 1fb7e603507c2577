"""What can be switched on around a sampler: precision by step and layer, a guard against NaN, a report of the steps."""

from .nan_guard import NonFiniteError
from .patch import patched
from .schedule import PrecisionSchedule, ScheduleError
from .sigmas import SigmasError, distilled, split
from .step_report import StepReport

__all__ = [
    "NonFiniteError",
    "PrecisionSchedule",
    "ScheduleError",
    "SigmasError",
    "StepReport",
    "distilled",
    "patched",
    "split",
]
