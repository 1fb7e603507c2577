"""How each contestant's file becomes a ComfyUI MODEL: by the loader that its users have. Needs ComfyUI on the path."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import comfy.model_management
import comfy.sd
import folder_paths
import torch

from ...loading.common import DTYPES
from ...loading.dit import load_dit
from ...schemes import AUTO, SchemeChoice
from .contestants import CORE, GGUF, OURS, Contestant

GGUF_PACK = "comfyui_gguf"


def computing(device: torch.device) -> torch.dtype:
    """What core computes bf16 files in there, and so everybody does here: on CPUs float32, though ours would take bf16
    where the CPU multiplies it."""
    return comfy.model_management.unet_manual_cast(torch.bfloat16, device) or torch.bfloat16


def our_choice(dtype: torch.dtype, **choice) -> SchemeChoice:
    """A SchemeChoice that computes in `dtype`."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    return SchemeChoice(compute_dtype=names[dtype], **choice)


def load(row: Contestant, file: Path, gguf_pack: Path | None):
    """The ModelPatcher of a contestant's file. gguf_pack: the folder of ComfyUI-GGUF, for its rows."""
    return LOADERS[row.loader](row, file, gguf_pack)


def _ours(row: Contestant, file: Path, _):
    dtype = computing(comfy.model_management.get_torch_device())
    return load_dit(str(file), our_choice(dtype, dit=row.scheme, strict=row.scheme != AUTO))


def _core(row: Contestant, file: Path, _):
    """As UNETLoader does it. `compute` sets what it leaves to the device."""
    options = {"dtype": getattr(torch, row.dtype)} if row.dtype else {}
    patcher = comfy.sd.load_diffusion_model(str(file), model_options=options)
    if row.compute:
        patcher.model.manual_cast_dtype = getattr(torch, row.compute)
    return patcher


def _gguf(_, file: Path, pack: Path):
    """By the pack's own node."""
    folder_paths.add_model_folder_path("diffusion_models", str(file.parent))
    (patcher,) = _import_pack(pack).NODE_CLASS_MAPPINGS["UnetLoaderGGUF"]().load_unet(file.name)
    return patcher


def _import_pack(folder: Path):
    """A node pack as ComfyUI imports it, once."""
    if GGUF_PACK not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            GGUF_PACK, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        sys.modules[GGUF_PACK] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[GGUF_PACK])
    return sys.modules[GGUF_PACK]


LOADERS: dict[str, Callable] = {OURS: _ours, CORE: _core, GGUF: _gguf}
