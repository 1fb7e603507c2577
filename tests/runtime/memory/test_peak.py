"""Peaks of this very process."""

import mmap
import sys

import pytest
import torch

from x2v_quant.runtime.memory import PeakCounter
from x2v_quant.runtime.memory.peak import EVER, THIS_RUN

MB = 10**6
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts anew")


def use(megabytes):
    """Memory that no test before has left to this process."""
    pages = mmap.mmap(-1, megabytes * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=torch.uint8).fill_(1)


@linux
def test_the_peak_is_of_the_run():
    counter = PeakCounter()
    counter.begin("first")
    start = counter.read("first").process.peak
    use(200)
    first = counter.read("first").process
    assert first.since == THIS_RUN
    assert 190 * MB < first.peak - start < 260 * MB
    counter.begin("first")  # of a second report node in the same prompt
    assert counter.read("first").process.peak == first.peak
    counter.begin("second")
    assert counter.read("second").process.peak < first.peak - 150 * MB


@linux
def test_now_is_told_apart():
    before = PeakCounter().read("run").process
    held = use(100)
    after = PeakCounter().read("run").process
    assert 90 * MB < after.own - before.own < 130 * MB
    assert abs(after.files - before.files) < 20 * MB
    assert after.own + after.files <= after.peak
    del held


def test_a_run_that_nobody_began():
    counter = PeakCounter()
    counter.begin("first")
    found = counter.read("another")
    assert (found.since, found.process.since) == (EVER, EVER)
    assert found.process.peak > 10 * MB


@pytest.mark.gpu
def test_a_device_counts_too():
    counter = PeakCounter()
    counter.begin("first")
    (start,) = counter.read("first").devices[:1]
    torch.ones(200 * MB, dtype=torch.uint8, device="cuda")
    (found,) = counter.read("first").devices[:1]
    assert 190 * MB < found.allocated - start.allocated < 210 * MB
    assert found.reserved >= found.allocated
    counter.begin("second")
    assert counter.read("second").devices[0].allocated < found.allocated - 150 * MB
