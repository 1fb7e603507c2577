"""Whether an address belongs to a file that is mapped into this process."""

import bisect
import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

# paths in Linux' table of mappings that are memory and no files
NO_FILES = ("/dev/", "/memfd:", "/SYSV", "/anon_hugepage")
LONGEST_PATH = 32768  # characters, of Windows


def file_mappings() -> Callable[[int], bool]:
    """A function address -> whether it lies in a file mapping that exists now. False on systems not in SYSTEMS."""
    return SYSTEMS.get(sys.platform, lambda: lambda address: False)()


def _linux() -> Callable[[int], bool]:
    ranges = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        path = fields[5] if len(fields) > 5 else ""
        if path.startswith("/") and not path.startswith(NO_FILES):
            ranges.append(tuple(int(end, 16) for end in fields[0].split("-")))
    starts = [start for start, _ in ranges]  # the table is in the order of addresses

    def holds(address: int) -> bool:
        index = bisect.bisect_right(starts, address) - 1
        return index >= 0 and address < ranges[index][1]

    return holds


def _windows() -> Callable[[int], bool]:
    kernel = ctypes.WinDLL("kernel32")
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    kernel.K32GetMappedFileNameW.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_wchar_p, ctypes.c_uint32)
    process = kernel.GetCurrentProcess()
    name = ctypes.create_unicode_buffer(LONGEST_PATH)
    return lambda address: kernel.K32GetMappedFileNameW(process, address, name, LONGEST_PATH) > 0


SYSTEMS = {"linux": _linux, "win32": _windows}
