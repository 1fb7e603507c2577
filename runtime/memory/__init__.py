"""Where the bytes of models are: on the device, pinned, in RAM, in a file; and the peaks of a run."""

from .chart import chart
from .measure import measure
from .peak import PeakCounter
from .report import Component, Held, MemoryReport
from .text import describe

__all__ = ["Component", "Held", "MemoryReport", "PeakCounter", "chart", "describe", "measure"]
