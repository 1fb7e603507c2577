"""The trained demo model as it is in the repository: 16-bit parts in the names that LightX2V's files use."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from ..checkpoints import CheckpointError
from ..checkpoints.safetensors_header import read_header

Tensors = dict[str, torch.Tensor]

FOLDER = Path(__file__).parent
MODELS = FOLDER / "models"  # that come with the pack: see assets.SHIPPED
# below FOLDER; these two are models as they are
DIT = "models/diffusion_models/x2v_demo_t2v_bf16.safetensors"
VAE = "models/vae/x2v_demo_vae.safetensors"
# and of these models are made
I2V, T5, CLIP = (f"sources/{name}.safetensors" for name in ("i2v", "t5", "clip"))
SPIECE = "sources/spiece.model"
RECORD = "sources/training.json"
FILES = (DIT, I2V, T5, CLIP, VAE, SPIECE)


def dit(folder: Path = FOLDER) -> Tensors:
    """The diffusion model, text to video, bfloat16. This and all below raise CheckpointError, which names the file,
    where it is missing or not whole."""
    return _tensors(folder / DIT)


def image_to_video(folder: Path = FOLDER) -> Tensors:
    """What the image-to-video variant adds to `dit`, bfloat16: `patch_embedding.weight` holds the picture's channels
    alone, and `img_emb` takes features as narrow as `clip_vision`'s."""
    return _tensors(folder / I2V)


def umt5(folder: Path = FOLDER) -> Tensors:
    """The text encoder, bfloat16."""
    return _tensors(folder / T5)


def clip_vision(folder: Path = FOLDER) -> Tensors:
    """The vision encoder, float16, a sixteenth as wide as the one that Wan takes: see widen.py."""
    return _tensors(folder / CLIP)


def vae(folder: Path = FOLDER) -> Tensors:
    """The VAE, float16."""
    return _tensors(folder / VAE)


def spiece(folder: Path = FOLDER) -> bytes:
    """The tokenizer of `umt5`, a sentencepiece model."""
    return _found(folder / SPIECE).read_bytes()


def _tensors(path: Path) -> Tensors:
    read_header(_found(path))  # says in words what is wrong with the file
    return load_file(path)


def _found(path: Path) -> Path:
    if not path.is_file():
        raise CheckpointError(
            f"{path.name}, a part of the demo model, is not in {path.parent}. This copy of the pack is "
            "incomplete: install it again."
        )
    return path
