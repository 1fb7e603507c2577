"""Sequences of what people do, in random order, on a real server: the same graph has to give the same latents."""

from .driver import MODES, Driver, Report
from .files import write_models

__all__ = ["MODES", "Driver", "Report", "write_models"]
