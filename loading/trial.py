"""Checks whether a checkpoint makes a model: builds it on the meta device, where nothing is read or computed."""

import json
from pathlib import Path

import comfy.text_encoders.t5
import torch
from comfy.clip_model import CLIPVisionModelProjection
from comfy.ldm.wan.model import WanModel

from ..checkpoints import Checkpoint, CheckpointError, Problem, Weights
from ..common.importing import quick_imports
from ..common.log import silence
from ..families.family import CLIP_VISION, DIT, T5
from ..kernels.machine import describe
from ..linear import operations
from ..schemes import AUTO, resolve
from ..schemes.plan import Plan
from .common import assign, buildable
from .config import CONFIG
from .sizes import clip_vision_sizes, t5_sizes, wan_sizes
from .tokenizer import find_tokenizer

META, CPU = torch.device("meta"), torch.device("cpu")
DTYPE = torch.bfloat16
EMBEDDING = "shared.weight"
T5Model = comfy.text_encoders.t5.T5
# the configuration to which core adds what a file's shapes tell
UMT5 = Path(comfy.text_encoders.t5.__file__).with_name("umt5_config_xxl.json")
# models of core's one class for text and images to video
WANS = {"Wan 2.1 t2v", "Wan 2.1 i2v", "Wan 2.1 flf2v", "Wan 2.2 i2v", "Wan 2.2 5B"}


def find_problem(checkpoint: Checkpoint, weights: Weights) -> Problem | None:
    """The problem that loading the checkpoint would raise, None if there is none. weights: an outline's. The tokenizer
    is not checked. A checkpoint of no known kind is tried as a diffusion model of ComfyUI."""
    name = checkpoint.path.name
    sd = {key: tensor.to(META) for key, tensor in weights.plain.items()}
    sd |= {
        f"{layer}.weight": torch.empty(stored.shape, dtype=DTYPE, device=META)
        for layer, stored in weights.quantized.items()
    }
    is_wan = checkpoint.model in WANS and CONFIG not in weights.metadata
    build = _wan if is_wan else BUILD.get(checkpoint.kind, _dit)
    try:
        with torch.inference_mode(), META, silence():
            build(sd, weights, name)
    except CheckpointError as error:
        return error.problem
    return None


def tokenizer_note(checkpoint: Checkpoint, weights: Weights) -> list[str]:
    """The loader's note on a text encoder's tokenizer if the user picks none: it is missing, or replaced by one beside
    the file. Empty for any other model."""
    if checkpoint.kind != T5:
        return []
    rows = len(weights.plain[EMBEDDING])
    try:
        return find_tokenizer(checkpoint.path, weights.spiece_model, None, rows)[1]
    except CheckpointError as error:
        return [str(error)]


def _plan(component: str, name: str) -> Plan:
    return Plan(name, resolve(AUTO, component), describe(CPU), DTYPE, component=component)


def _dit(sd: dict[str, torch.Tensor], weights: Weights, name: str) -> None:
    with quick_imports():  # here, for core imports every model that it has
        from .dit import build_dit

    build_dit(sd, weights, _plan("dit", name), name, disable_dynamic=True)


def _wan(sd: dict[str, torch.Tensor], weights: Weights, name: str) -> None:
    """As `_dit`, with core's WanModel directly, which is faster."""
    sizes = wan_sizes(sd, name)
    with buildable(name):
        model = WanModel(**sizes, device=META, dtype=DTYPE, operations=operations(_plan("dit", name)))
    assign(model, sd, name)


def _t5(sd: dict[str, torch.Tensor], weights: Weights, name: str) -> None:
    config = json.loads(UMT5.read_text(encoding="utf-8")) | t5_sizes(sd, name)
    assign(T5Model(config, DTYPE, META, operations(_plan("t5", name))), sd, name)


def _clip(sd: dict[str, torch.Tensor], weights: Weights, name: str) -> None:
    config = clip_vision_sizes(sd, name)
    assign(CLIPVisionModelProjection(config, DTYPE, META, operations(_plan("clip", name))), sd, name)


BUILD = {DIT: _dit, T5: _t5, CLIP_VISION: _clip}
