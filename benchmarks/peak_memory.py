"""Run as a module in a fresh interpreter: load one file, read every weight once, and print the peak of resident memory
above the start."""

import json
import sys
from pathlib import Path

import psutil

from .comfyui import use_comfyui


def main(loader: str, path: str) -> None:
    """loader: "dit" and "t5" are ours, "core" is UNETLoader's."""
    use_comfyui()
    import comfy.model_management
    import comfy.sd
    import torch

    from ..loading import load_dit, load_t5

    load = {"dit": load_dit, "t5": lambda file: load_t5(file).patcher, "core": comfy.sd.load_diffusion_model}[loader]
    _reset_peak()
    before = psutil.Process().memory_info().rss
    with torch.inference_mode():
        patcher = load(path)
        comfy.model_management.load_models_gpu([patcher])
        for tensor in patcher.model.state_dict().values():
            tensor.reshape(-1).view(torch.uint8).max()  # a mapped file counts once its pages are read
        after = _peak()
    print(json.dumps({"peak_mb": (after - before) / 1e6}))


def _reset_peak() -> None:
    """Linux counts the peak from here; elsewhere the imports' own peak is a floor that a big model exceeds."""
    counter = Path("/proc/self/clear_refs")
    if counter.exists():
        counter.write_text("5")


def _peak() -> int:
    """Bytes: the highest resident memory so far."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    info = psutil.Process().memory_info()
    return getattr(info, "peak_wset", info.rss)


if __name__ == "__main__":
    main(*sys.argv[1:])
