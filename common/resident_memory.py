"""Resident memory of this process, and its peak."""

import sys
from pathlib import Path

import psutil

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
RESET_PEAK = "5"  # what Linux' proc(5) says to write
KIB = 1024


def reset_peak() -> bool:
    """Reset the peak. False on systems that cannot: there the peak is that of the whole process lifetime."""
    if not CLEAR_REFS.exists():
        return False
    CLEAR_REFS.write_text(RESET_PEAK)
    return True


def peak() -> int:
    """Bytes: the highest resident memory so far."""
    return resident()[0]


def resident() -> tuple[int, int | None, int | None]:
    """(peak, own memory now, pages of mapped files now) in bytes. The last two are None outside Linux."""
    if STATUS.exists():
        fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
        most, own, files = (int(fields[name].split()[0]) * KIB for name in ("VmHWM", "RssAnon", "RssFile"))
        return most, own, files
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset, None, None
    import resource  # Windows has no such module

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, None, None
