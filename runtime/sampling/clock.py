"""Times the steps of a sampler without making the device wait."""

import time
from itertools import pairwise

import torch


class StepClock:
    """Marks the end of each step. On CUDA a mark is an event in the stream: it times the work itself, not its launch.
    Elsewhere it is the time at which `mark` is called."""

    def __init__(self, device: torch.device):
        self.cuda = device.type == "cuda"
        self.marks: list = []

    def mark(self) -> None:
        """Call when all work of a step is launched on the current stream of the current device."""
        if not self.cuda:
            self.marks.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self.marks.append(event)

    def wait(self) -> None:
        """Wait until the device has reached the last mark."""
        if self.cuda:
            self.marks[-1].synchronize()

    def seconds(self) -> list[float]:
        """Seconds between consecutive marks, up to the last one that the device has reached."""
        if not self.cuda:
            return [later - earlier for earlier, later in pairwise(self.marks)]
        passed = [mark for mark in list(self.marks) if mark.query()]
        return [earlier.elapsed_time(later) / 1000 for earlier, later in pairwise(passed)]
