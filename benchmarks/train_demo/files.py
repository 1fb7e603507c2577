"""Where the trained parts are and how they are saved: 16 bits, in the names that LightX2V's files use."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ...demo.trained import CLIP, DIT, FOLDER, I2V, RECORD, SPIECE, T5, VAE, Tensors
from ...kernels.timing.report import cpu

__all__ = ["CLIP", "DIT", "FOLDER", "I2V", "SPIECE", "T5", "VAE", "load", "made_with", "record", "save", "save_spiece"]

# LightX2V publishes the vision encoder in float16; the VAE is the better for its three more bits
DTYPES = {DIT: torch.bfloat16, I2V: torch.bfloat16, T5: torch.bfloat16, CLIP: torch.float16, VAE: torch.float16}


def save(folder: Path, part: str, tensors: Tensors) -> None:
    """part: DIT, I2V, T5, CLIP or VAE, a path below the folder."""
    path = folder / part
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: tensor.detach().to("cpu", DTYPES[part]).contiguous() for name, tensor in tensors.items()}
    metadata = None
    if part == DIT:  # the one dimension that core does not read off the weights
        metadata = {"config": json.dumps({"transformer": {"text_dim": kept["text_embedding.0.weight"].shape[1]}})}
    save_file(kept, path, metadata)


def load(folder: Path, part: str) -> Tensors:
    """float32"""
    return {name: tensor.float() for name, tensor in load_file(folder / part).items()}


def save_spiece(folder: Path, spiece: bytes) -> None:
    path = folder / SPIECE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(spiece)


def record(folder: Path, entry: dict) -> None:
    """Adds to the record of the training that is beside the parts."""
    path = folder / RECORD
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known | entry, indent=1) + "\n", encoding="utf-8")


def made_with(seed: int, device: torch.device) -> dict:
    """What a training is repeated with."""
    import comfyui_version

    threads = torch.get_num_threads()
    return {
        "seed": seed,
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{cpu()['name']}, {threads} threads",
        "torch": torch.__version__,
        "comfyui": comfyui_version.__version__,
    }
