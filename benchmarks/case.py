"""Cases of rates, and of peers that do not run."""

from ..kernels.timing.case import Case
from ..kernels.timing.clock import Timing


def throughput(part: str, what: str, peer: str, megabytes: float, ours: Timing, theirs: Timing) -> Case:
    """A case of two timings of work on `megabytes`, in MB/s."""
    rates = {side: megabytes / timing.median for side, timing in (("ours", ours), ("theirs", theirs))}
    # the longest time is the lowest rate
    spread = {
        side: [round(megabytes / timing.high, 4), round(megabytes / timing.low, 4), timing.rounds]
        for side, timing in (("ours", ours), ("theirs", theirs))
    }
    return Case(f"{what} vs {peer}", **rates, unit="MB/s", part=part, spread=spread)


def missing(part: str, what: str, peer: str, ours: float | None, unit: str, reason: str) -> Case:
    """A case whose peer does not run here; `ours` is None if it cannot be had at all."""
    return Case(f"{what} vs {peer}", ours, None, unit, None, part, reason)
