"""Small model files in LightX2V's layout, under the names it publishes: int8, fp8 and the bf16 they were made from."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from . import encoders, wan
from .quantize import quantized

Save = Callable[[wan.Tensors, Path], None]

VERSION = "1"  # raise it when the files change
SEED = 20
ORIGINAL, INT8, FP8 = "bf16", "int8", "fp8"
FORMATS = (INT8, FP8)

T5 = "models_t5_umt5-xxl-enc-{}.pth"
CLIP = "models_clip_open-clip-xlm-roberta-large-vit-huge-14{}.pth"
VAE = "wan_2.1_vae.safetensors"
TOKENIZER = Path("google") / "umt5-xxl" / "spiece.model"
# How LightX2V spells the format in the name of a diffusion model and of a CLIP.
DIT_WORD = {ORIGINAL: "", INT8: "int8_", FP8: "scaled_fp8_e4m3_"}
CLIP_WORD = {ORIGINAL: "", INT8: "-int8", FP8: "-fp8"}


@dataclass(frozen=True)
class Names:
    """File names, as ComfyUI lists them, of one format's models."""

    t2v: str
    i2v: str
    t5: str
    clip: str
    vae: str = VAE


def names(kind: str) -> Names:
    """kind: "int8", "fp8" or "bf16"."""
    return Names(
        t2v=f"wan2.1_t2v_14b_{DIT_WORD[kind]}lightx2v_4step.safetensors",
        i2v=f"wan2.1_i2v_480p_{DIT_WORD[kind]}lightx2v_4step.safetensors",
        t5=T5.format(kind),
        clip=CLIP.format(CLIP_WORD[kind]),
    )


def write(models: Path) -> None:
    """Writes every file below `models` (ComfyUI's models folder): about 150 MB, most of it CLIP. Deterministic.

    Nothing happens if this version is there already.
    """
    stamp = models / "demo-assets-version.txt"
    if stamp.exists() and stamp.read_text() == VERSION:
        return
    size = wan.WanSize()
    for kind in ("t2v", "i2v"):
        tensors = wan.dit(SEED, size, image_to_video=kind == "i2v")
        write_all(models / "diffusion_models", tensors, torch.bfloat16, "dit", kind, save_with_config(size))
    spiece = encoders.spiece_model(SEED)
    tokenizer = models / "text_encoders" / TOKENIZER
    tokenizer.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.write_bytes(spiece)
    text = encoders.umt5(SEED, encoders.pieces(spiece), size.text)
    write_all(models / "text_encoders", text, torch.bfloat16, "t5", "t5", torch.save)
    write_all(models / "clip_vision", encoders.clip_vision(SEED), torch.float16, "clip", "clip", torch.save)
    vae = cast(wan.vae(SEED), torch.bfloat16)
    (models / "vae").mkdir(exist_ok=True)
    save_file(vae, models / "vae" / VAE)
    stamp.write_text(VERSION)


def write_all(folder: Path, tensors: wan.Tensors, dtype: torch.dtype, model: str, name: str, save: Save) -> None:
    """One model's original and its two quantized files. model: a key of SELECTION; name: a field of Names."""
    folder.mkdir(parents=True, exist_ok=True)
    original = cast(tensors, dtype)
    for kind in (ORIGINAL, *FORMATS):
        chosen = original if kind == ORIGINAL else quantized(original, kind, model)
        save(chosen, folder / getattr(names(kind), name))


def save_with_config(size: wan.WanSize) -> Save:
    """Saves with the header entry that tells ComfyUI of a text width that is not umt5-xxl's 4096."""
    metadata = {"config": json.dumps({"transformer": {"text_dim": size.text}})}
    return lambda tensors, path: save_file(tensors, path, metadata)


def cast(tensors: wan.Tensors, dtype: torch.dtype) -> wan.Tensors:
    return {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}
