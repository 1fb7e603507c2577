"""Run as a module in a fresh interpreter: load one file, read every weight once, and print the peak of resident memory
above the start."""

import json
import sys
from pathlib import Path

import psutil

from ..common.resident_memory import peak, reset_peak
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


if __name__ == "__main__":
    main(*sys.argv[1:])
