"""ComfyUI's own loaders for models of few blocks: core tells a model by its last block, so it is told the size here,
and builds, casts and runs the rest as its nodes do."""

import json
from pathlib import Path

import comfy.clip_vision
import comfy.sd
import comfy.text_encoders.wan
import torch

from ..checkpoints import open_checkpoint
from ..loading.common import read_file
from . import encoders
from .shapes import Model

CLIP_VISION_H = Path(comfy.clip_vision.__file__).parent / "clip_vision_config_h.json"


def load_dit(path: Path):
    """What UNETLoader gives."""
    return comfy.sd.load_diffusion_model(str(path))


def load_t5(path: Path, model: Model, blocks: int):
    """What CLIPLoader (type wan) gives for a bfloat16 file, its tokenizer beside it."""
    spiece = (path.parent / "spiece.model").read_bytes()

    class Target:
        clip = comfy.text_encoders.wan.te(dtype_t5=torch.bfloat16)
        tokenizer = comfy.text_encoders.wan.WanT5Tokenizer
        params = {}  # noqa: RUF012 - core's CLIP reads it as an attribute and copies it

    config = {
        "vocab_size": encoders.pieces(spiece),
        "d_model": model.width,
        "d_ff": model.mlp,
        "num_heads": model.heads,
        "d_kv": model.width // model.heads,
        "num_layers": blocks,
    }
    return comfy.sd.CLIP(
        Target,
        tokenizer_data={"spiece_model": torch.frombuffer(bytearray(spiece), dtype=torch.uint8)},
        state_dict=[_in_cores_names(path)],
        model_options={"umt5xxl_model_config": config},
    )


def load_clip_vision(path: Path, blocks: int):
    """What CLIPVisionLoader gives for ViT-H."""
    config = {**json.loads(CLIP_VISION_H.read_text(encoding="utf-8")), "num_hidden_layers": blocks}
    clip_vision = comfy.clip_vision.ClipVisionModel(config)
    clip_vision.load_sd(_in_cores_names(path))
    return clip_vision


def _in_cores_names(path: Path) -> dict[str, torch.Tensor]:
    """An unquantized file's tensors: Wan's own names are not core's."""
    return dict(open_checkpoint(path).load(read_file).plain)
