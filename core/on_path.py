"""ComfyUI as a library, for commands that run outside its server."""

import sys
from pathlib import Path

from ..headless.server import StartError, find_comfyui


def use_comfyui(cpu: bool = False) -> Path:
    """Put ComfyUI on the path, on CPU if there is no GPU or for `cpu`, unless it runs already; returns its folder.
    Raises StartError if there is none."""
    path = find_comfyui()
    if "comfy.cli_args" in sys.modules:
        return path
    sys.path.insert(0, str(path))
    import torch
    from comfy.cli_args import args

    args.cpu = cpu or not torch.cuda.is_available()
    return path


def use_comfyui_with_int8() -> Path:
    """As `use_comfyui`, for figures against ComfyUI's int8 layers. Raises StartError too where it has none."""
    path = use_comfyui()
    from .features import reads_int8

    if not reads_int8():
        raise StartError(
            f"bench measures against ComfyUI's own int8 layers, and the ComfyUI in {path} has none. Set COMFYUI_PATH "
            "to 0.27 or newer, or run bench --kernels."
        )
    return path
