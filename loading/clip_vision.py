"""Load Quantized CLIP: Wan's open-clip vision encoder as core's CLIP_VISION."""

from pathlib import Path

import comfy.clip_vision
import comfy.model_management
import comfy.model_patcher
import torch

from ..checkpoints import open_checkpoint
from ..linear import operations
from ..schemes import CLIP, SchemeChoice
from ..schemes.plan import Plan
from .common import announce, assign, buildable, compute_dtype, make_plan, read_file, say, state_dict, wanted

# ViT-H/14 has heads of 80 channels; other sizes use the usual 64
HEAD_DIM = {1280: 80}
USUAL_HEAD_DIM = 64

PROJECTION = "visual_projection.weight"
UNPROJECTED = f"{PROJECTION} is not there: image_embeds are not projected, hidden states (what Wan takes) are the same"


def load_clip_vision(
    path: str, choice: SchemeChoice | None = None, unquantized: bool = False, disable_dynamic: bool = False
):
    """File -> a ClipVisionModel; the plan is `clip_vision.model.x2v_plan`.

    unquantized: an encoder that is not quantized will do too. Raises CheckpointError, UnknownSchemeError,
    SchemeMismatchError or NoKernelError.
    """
    choice = choice or SchemeChoice()
    checkpoint = open_checkpoint(path)
    checkpoint.require("clip_vision", unquantized)
    device = comfy.model_management.text_encoder_device()
    plan = make_plan(checkpoint, CLIP, choice, device, compute_dtype(choice, device))
    sd = state_dict(checkpoint.load(read_file), plan)
    say(plan, [] if PROJECTION in sd else [UNPROJECTED])
    clip_vision = QuantizedClipVision(config_of(sd, Path(path).name), plan, disable_dynamic)
    say(plan, assign(clip_vision.model, sd, Path(path).name))
    clip_vision.model.x2v_plan = plan
    clip_vision.patcher.cached_patcher_init = (_load_patcher, (path, choice, unquantized))
    announce(plan)
    return clip_vision


class QuantizedClipVision(comfy.clip_vision.ClipVisionModel):
    """Core's vision encoder built with our operations; core's own constructor allows no others, so the attributes it
    would set are set here."""

    def __init__(self, config: dict, plan: Plan, disable_dynamic: bool = False):
        self.config = config
        self.image_size = config["image_size"]
        self.image_mean = config["image_mean"]
        self.image_std = config["image_std"]
        self.model_type = config["model_type"]
        self.return_all_hidden_states = False
        self.load_device = comfy.model_management.text_encoder_device()
        self.dtype = comfy.model_management.text_encoder_dtype(self.load_device)
        offload_device = comfy.model_management.text_encoder_offload_device()
        encoder = comfy.clip_vision.IMAGE_ENCODERS[self.model_type]
        self.model = encoder(config, self.dtype, torch.device("meta"), operations(plan)).eval().requires_grad_(False)
        patcher = comfy.model_patcher.ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
        self.patcher = patcher(self.model, load_device=self.load_device, offload_device=offload_device)


def _load_patcher(*args, disable_dynamic: bool = False):
    return load_clip_vision(*args, disable_dynamic=disable_dynamic).patcher


def config_of(sd: dict[str, torch.Tensor], file: str) -> dict:
    """Core's configuration of a CLIP vision encoder, read off the weights' shapes; image statistics are CLIP's."""
    with buildable(file):
        return _config(sd, file)


def _config(sd: dict[str, torch.Tensor], file: str) -> dict:
    def shape(name: str) -> torch.Size:
        return wanted(sd, name, file).shape

    prefix = "vision_model."
    hidden, _, patch_size, _ = shape(f"{prefix}embeddings.patch_embedding.weight")
    patches = shape(f"{prefix}embeddings.position_embedding.weight")[0] - 1
    return {
        "model_type": "clip_vision_model",
        "hidden_act": "gelu",
        "hidden_size": hidden,
        "image_size": round(patches**0.5) * patch_size,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "intermediate_size": shape(f"{prefix}encoder.layers.0.mlp.fc1.weight")[0],
        "num_attention_heads": max(1, hidden // HEAD_DIM.get(hidden, USUAL_HEAD_DIM)),
        "num_channels": 3,
        "num_hidden_layers": 1
        + max(int(key.split(".")[3]) for key in sd if key.startswith(f"{prefix}encoder.layers.")),
        "patch_size": patch_size,
        **({"projection_dim": sd[PROJECTION].shape[0]} if PROJECTION in sd else {}),
    }
