"""ComfyUI as a library, for commands that run outside its server."""

import sys
from pathlib import Path

from ..headless.server import find_comfyui


def use_comfyui() -> Path:
    """Put ComfyUI on the path, on CPU if there is no GPU; returns its folder. Raises StartError if there is none."""
    path = find_comfyui()
    sys.path.insert(0, str(path))
    import torch
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    return path
