"""Run as a module in a fresh interpreter: load one file, read every weight once, and print the peak of resident memory
above the start."""

import json
import sys
from pathlib import Path

import psutil

from ..core.on_path import use_comfyui


def main(loader: str, path: str) -> None:
    """loader: a key of reading.LOADERS."""
    use_comfyui()
    from .reading import read

    reset_peak()
    before = psutil.Process().memory_info().rss
    patcher = read(loader, Path(path))
    after = peak()
    del patcher
    print(json.dumps({"peak_mb": (after - before) / 1e6}))


def reset_peak() -> None:
    """Linux counts the peak from here; elsewhere the imports' own peak is a floor that a big model exceeds."""
    counter = Path("/proc/self/clear_refs")
    if counter.exists():
        counter.write_text("5")


def peak() -> int:
    """Bytes: the highest resident memory so far."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    info = psutil.Process().memory_info()
    return getattr(info, "peak_wset", info.rss)


if __name__ == "__main__":
    main(*sys.argv[1:])
