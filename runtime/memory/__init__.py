"""Memory reports: where each model's bytes are (device, pinned RAM, RAM, file), and the peaks of a run."""

from .chart import chart
from .measure import measure
from .peak import PeakCounter
from .report import Component, MemoryReport, MemoryUse
from .text import describe
from .verdict import verdict

__all__ = ["Component", "MemoryReport", "MemoryUse", "PeakCounter", "chart", "describe", "measure", "verdict"]
