"""Memory peaks of a run: reset when it begins, read when it is reported."""

import comfy.model_management
import psutil
import torch

from ...common.resident_memory import reset_peak, resident
from .report import DevicePeak, Peak, ProcessPeak

# device types for which PyTorch counts memory: torch.<type> has memory_stats and reset_peak_memory_stats
COUNTED = ("cuda", "xpu", "npu", "mlu")
THIS_RUN = "since this run began"
EVER = "since ComfyUI was started"


class PeakCounter:
    """Counts the peaks of one run at a time, since a process has one peak per kind of memory."""

    def __init__(self):
        self._run: str | None = None
        self._process_since = EVER

    def begin(self, run: str) -> None:
        """Reset the peaks, unless that has been done for this run."""
        if run == self._run:
            return
        self._run = run
        self._process_since = THIS_RUN if reset_peak() else EVER
        for device in _devices():
            getattr(torch, device.type).reset_peak_memory_stats(device)

    def read(self, run: str) -> Peak:
        """The peaks since `begin(run)`, or since ComfyUI was started if another run or none was begun."""
        begun = run == self._run
        peak, own, files = resident()
        process = ProcessPeak(peak, self._process_since if begun else EVER, own, files, psutil.virtual_memory().total)
        return Peak(THIS_RUN if begun else EVER, tuple(_peak(device) for device in _devices()), process)


def _devices() -> list[torch.device]:
    return [device for device in comfy.model_management.get_all_torch_devices() if device.type in COUNTED]


def _peak(device: torch.device) -> DevicePeak:
    stats = getattr(torch, device.type).memory_stats(device)  # empty before the first allocation
    allocated, reserved = (stats.get(f"{kind}_bytes.all.peak", 0) for kind in ("allocated", "reserved"))
    total = comfy.model_management.get_total_memory(device)
    return DevicePeak(str(device), allocated, reserved, total, int(comfy.model_management.extra_reserved_memory()))
