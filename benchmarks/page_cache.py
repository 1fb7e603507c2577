"""Whether a file is read from the disk or from memory: the system keeps what was read or written lately."""

import ctypes
import mmap
import os
import sys
from pathlib import Path

import numpy

# of a file's pages; a few come back at once when something reads ahead
STILL_COLD = 0.05


def forget(path: Path) -> None:
    """Drop a file from the system's page cache (Linux). Pages that a process has mapped stay."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)  # pages that are not on the disk yet stay
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def cached_share(path: Path) -> float:
    """Share of a file's pages that are in memory (Linux, mincore(2))."""
    content = numpy.memmap(path, mode="r")
    pages = numpy.zeros(-(-content.size // mmap.PAGESIZE), dtype=numpy.uint8)
    mincore = ctypes.CDLL(None, use_errno=True).mincore
    status = mincore(
        ctypes.c_void_p(content.ctypes.data), ctypes.c_size_t(content.size), ctypes.c_void_p(pages.ctypes.data)
    )
    if status:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    return float((pages & 1).mean())


def why_not_cold(path: Path) -> str | None:
    """Why `path` cannot be read from the disk again, or None. Drops it from memory."""
    if sys.platform != "linux":
        return "this system does not let a program drop a file from memory"
    forget(path)
    return "this file system keeps files in memory" if cached_share(path) > STILL_COLD else None
