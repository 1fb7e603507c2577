"""The demo's model files in LightX2V's layout, from the trained parts: int8, fp8 and what they were made from."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import safetensors.torch
import torch

from ..writing import whole_file
from . import trained, widen
from .quantize import quantized, rows
from .trained import Tensors

Save = Callable[[Tensors, BinaryIO], object]

VERSION = "2"  # raise it when the files change though the trained parts do not
STAMP = "x2v_demo_version.txt"
ORIGINAL, INT8, FP8 = "bf16", "int8", "fp8"
FORMATS = (INT8, FP8)
TOKENIZER = "spiece_model"  # the key under which a text encoder's file carries it


@dataclass(frozen=True)
class Names:
    """File names, as ComfyUI lists them, of one format's models. The VAE is the same for all."""

    t2v: str
    i2v: str
    t5: str
    clip: str
    vae: str = "x2v_demo_vae.safetensors"


# a field of Names -> the folder of models in ComfyUI
FOLDERS = {
    "t2v": "diffusion_models",
    "i2v": "diffusion_models",
    "t5": "text_encoders",
    "clip": "clip_vision",
    "vae": "vae",
}

# a field of Names -> the formats that come with the pack: what the templates load, and what their notes say to try
SHIPPED = {
    "t2v": (ORIGINAL, INT8, FP8),
    "i2v": (INT8,),
    "t5": (INT8, FP8),
    "clip": (INT8,),
    "vae": (ORIGINAL,),
}


def names(kind: str) -> Names:
    """kind: "int8", "fp8" or "bf16", of which the vision encoder is in float16."""
    return Names(
        t2v=f"x2v_demo_t2v_{kind}.safetensors",
        i2v=f"x2v_demo_i2v_{kind}.safetensors",
        t5=f"x2v_demo_umt5_{kind}.pth",
        clip=f"x2v_demo_clip_{'fp16' if kind == ORIGINAL else kind}.pth",
    )


def paths(models: Path) -> list[Path]:
    """Every file that `write` makes, without its stamp."""
    files = {(field, name) for kind in (ORIGINAL, *FORMATS) for field, name in vars(names(kind)).items()}
    return sorted(models / FOLDERS[field] / name for field, name in files)


def shipped(models: Path = trained.MODELS) -> list[Path]:
    """Those of `paths` that come with the pack. `python -m x2v_quant.benchmarks.train_demo.shipped` writes them."""
    return [models / FOLDERS[field] / getattr(names(kind), field) for field, kinds in SHIPPED.items() for kind in kinds]


def write(models: Path) -> list[Path]:
    """Writes every file below `models` (ComfyUI's models folder), about 80 MB, most of it CLIP, and returns them.
    Deterministic. Nothing happens if these very files are there already.

    Raises CheckpointError if a trained part is missing.
    """
    stamp, digest = models / STAMP, _digest()
    written = paths(models)
    if stamp.exists() and stamp.read_text() == digest and all(path.exists() for path in written):
        return written
    for folder in set(FOLDERS.values()):
        (models / folder).mkdir(parents=True, exist_ok=True)
    dit = trained.dit()
    save_dit = _save_with_config(dit)
    text = trained.umt5()
    # LightX2V's file leaves the tokenizer beside it, in a place where a user's own must not be overwritten
    tokenizer = {TOKENIZER: torch.frombuffer(bytearray(trained.spiece()), dtype=torch.uint8)}
    _write_all(models, "t2v", "dit", dit, save_dit)
    _write_all(models, "i2v", "dit", widen.image_to_video(dit, trained.image_to_video()), save_dit)
    _write_all(models, "t5", "t5", text | tokenizer, torch.save)
    _write_all(models, "clip", "clip", widen.clip_vision(trained.clip_vision()), torch.save)
    _write(models / FOLDERS["vae"] / names(ORIGINAL).vae, trained.vae(), _save_safetensors)
    with whole_file(stamp, overwrite=True) as file:
        file.write(digest.encode())
    return written


def _write_all(models: Path, field: str, model: str, original: Tensors, save: Save) -> None:
    """One model's original and its two quantized files. field: of Names; model: a key of quantize.SELECTION."""
    for kind in (ORIGINAL, *FORMATS):
        chosen = original if kind == ORIGINAL else quantized(original, partial(rows, kind), model)
        path = models / FOLDERS[field] / getattr(names(kind), field)
        _write(path, {name: tensor.contiguous() for name, tensor in chosen.items()}, save)


def _write(path: Path, tensors: Tensors, save: Save) -> None:
    """In the place of an older one, which a server may have mapped: its bytes stay as they are."""
    with whole_file(path, overwrite=True) as file:
        save(tensors, file)


def _save_safetensors(tensors: Tensors, file: BinaryIO, metadata: dict[str, str] | None = None) -> None:
    file.write(safetensors.torch.save(tensors, metadata))


def _save_with_config(dit: Tensors) -> Save:
    """Saves with the header entry that tells ComfyUI of a text width that is not umt5-xxl's 4096."""
    metadata = {"config": json.dumps({"transformer": {"text_dim": dit["text_embedding.0.weight"].shape[1]}})}
    return lambda tensors, file: _save_safetensors(tensors, file, metadata)


def _digest() -> str:
    """Of this version and of every trained part."""
    found = hashlib.sha256(VERSION.encode())
    for name in trained.FILES:
        path = trained.FOLDER / name
        found.update(path.read_bytes() if path.exists() else b"")
    return found.hexdigest()
