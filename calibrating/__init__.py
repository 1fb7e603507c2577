"""What a model's layers get to see: per-channel maxima of their inputs, recorded while it samples."""

from .calibration import Calibration, CalibrationError

__all__ = ["Calibration", "CalibrationError"]
