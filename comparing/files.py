"""Loads models and VAEs for the command line. Needs ComfyUI on the path."""

from pathlib import Path

import comfy.sd
import comfy.utils

from ..checkpoints import open_checkpoint
from ..loading.common import INCOMPLETE
from ..loading.dit import load_dit
from .errors import CompareError


def load_model(path: Path):
    """The ModelPatcher of a diffusion model: our loader for quantized models and folders, core's for others. Raises
    CheckpointError, CompareError and what load_dit raises."""
    if path.is_dir() or open_checkpoint(path).formats:
        return load_dit(str(path), unquantized=True)
    tensors, metadata = comfy.utils.load_torch_file(str(path), return_metadata=True)
    try:
        patcher = comfy.sd.load_diffusion_model_state_dict(tensors, metadata=metadata)
    except KeyError as error:  # core reads the model's dimensions off tensors it takes to be there
        raise CompareError(f"{path.name}: {error.args[0]} is missing. {INCOMPLETE}") from error
    if patcher is None:
        raise CompareError(f"{path.name}: ComfyUI does not recognise this diffusion model. Give the file of one.")
    return patcher


def load_vae(path: Path) -> comfy.sd.VAE:
    """Load a VAE. Raises CheckpointError for a broken file, CompareError for one that is no VAE."""
    if path.is_dir():
        raise CompareError(f"{path.name} is a folder. Give the file of a VAE.")
    open_checkpoint(path)
    vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(path)))
    if vae.first_stage_model is None:
        raise CompareError(f"{path.name}: ComfyUI does not recognise this VAE. Give the file of one.")
    return vae
