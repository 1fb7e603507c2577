"""Seconds between marks on a device, read without making it wait."""

import time
from itertools import pairwise

import torch


class StepClock:
    """Marks the end of each step. On CUDA a mark is an event in the stream, so that launching work ahead is not taken
    for having done it; elsewhere it is the time at which the sampler was told."""

    def __init__(self, device: torch.device):
        self.cuda = device.type == "cuda"
        self.marks: list = []

    def mark(self) -> None:
        """The current stream of the current device has got all work of a step."""
        if not self.cuda:
            self.marks.append(time.perf_counter())
            return
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self.marks.append(event)

    def wait(self) -> None:
        """Until the device has come to the last mark."""
        if self.cuda:
            self.marks[-1].synchronize()

    def seconds(self) -> list[float]:
        """Between each two marks, as far as the device has come."""
        if not self.cuda:
            return [later - earlier for earlier, later in pairwise(self.marks)]
        passed = [mark for mark in list(self.marks) if mark.query()]
        return [earlier.elapsed_time(later) / 1000 for earlier, later in pairwise(passed)]
