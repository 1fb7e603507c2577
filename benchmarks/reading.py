"""Loading a file until every weight has been read: a mapped file has cost nothing before."""

from collections.abc import Callable
from pathlib import Path

import comfy.model_management
import torch

from ..loading.dit import load_dit
from ..loading.t5 import load_t5
from . import core_loaders
from .shapes import Model

# a umt5 of some size, so that both sides can load it whole
T5_MODEL = Model("umt5", "t5", width=1024, mlp=2816, heads=16, blocks=16, layers=())

# name -> path -> ModelPatcher
LOADERS: dict[str, Callable[[Path], object]] = {
    "dit": lambda path: load_dit(str(path)),
    "t5": lambda path: load_t5(str(path)).patcher,
    "core": core_loaders.load_dit,
    "core-t5": lambda path: core_loaders.load_t5(path, T5_MODEL, T5_MODEL.blocks).patcher,
}


@torch.inference_mode()
def read(loader: str, path: Path):
    """Load `path` with LOADERS[loader], move it where core runs it, read every weight once; returns the patcher."""
    patcher = LOADERS[loader](path)
    comfy.model_management.load_models_gpu([patcher])
    for tensor in patcher.model.state_dict().values():
        tensor.reshape(-1).view(torch.uint8).max()
    return patcher
