"""Finds ComfyUI, and puts it on the Python path for commands that run outside its server."""

import os
import sys
from pathlib import Path

from ..common.printable import LinesError

PACK = Path(__file__).resolve().parents[1]


class StartError(LinesError, RuntimeError):
    """There is no ComfyUI, or its server did not start or lacks our nodes; then the message ends with its log."""


def find_comfyui() -> Path:
    """COMFYUI_PATH, else the ComfyUI this pack is installed in (custom_nodes/..), else the one dev.py fetched."""
    named = os.environ.get("COMFYUI_PATH")
    candidates = [Path(named)] if named else [PACK.parents[1], PACK / ".comfyui" / "ComfyUI"]
    for folder in candidates:
        if (folder / "main.py").exists() and (folder / "comfyui_version.py").exists():
            return folder.resolve()
    places = ", ".join(str(folder) for folder in candidates)
    raise StartError(f"no ComfyUI in {places}: set COMFYUI_PATH to the folder that has its main.py")


def use_comfyui(cpu: bool = False) -> Path:
    """Put ComfyUI on the path, unless it runs already, and return its folder. cpu: run it on the CPU, as without a GPU.
    Raises StartError if there is none."""
    path = find_comfyui()
    if "comfy.cli_args" in sys.modules:
        return path
    sys.path.insert(0, str(path))
    import torch
    from comfy.cli_args import args

    args.cpu = cpu or not torch.cuda.is_available()
    return path
