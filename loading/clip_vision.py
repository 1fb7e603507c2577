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
from .common import announce, assign, compute_dtype, make_plan, read_file, say, state_dict
from .sizes import PROJECTION, clip_vision_sizes

UNPROJECTED = f"{PROJECTION} is not there: image_embeds are not projected, hidden states (what Wan takes) are the same"


def load_clip_vision(
    path: str, choice: SchemeChoice | None = None, unquantized: bool = False, disable_dynamic: bool = False
):
    """File -> ClipVisionModel; its plan is `clip_vision.model.x2v_plan`. unquantized: accept an unquantized encoder
    too. Raises CheckpointError, UnknownSchemeError, SchemeMismatchError or NoKernelError."""
    choice = choice or SchemeChoice()
    checkpoint = open_checkpoint(path)
    checkpoint.require("clip_vision", unquantized)
    device = comfy.model_management.text_encoder_device()
    plan = make_plan(checkpoint, CLIP, choice, device, compute_dtype(choice, device))
    sd = state_dict(checkpoint.load(read_file), plan)
    say(plan, [] if PROJECTION in sd else [UNPROJECTED])
    clip_vision = QuantizedClipVision(clip_vision_sizes(sd, Path(path).name), plan, disable_dynamic)
    say(plan, assign(clip_vision.model, sd, Path(path).name))
    clip_vision.model.x2v_plan = plan
    clip_vision.patcher.cached_patcher_init = (_load_patcher, (path, choice, unquantized))
    announce(plan)
    return clip_vision


class QuantizedClipVision(comfy.clip_vision.ClipVisionModel):
    """Core's vision encoder with our operations. Core's constructor does not accept others, so its attributes are set
    here."""

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
