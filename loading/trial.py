"""Whether a checkpoint makes a model: ComfyUI builds it on the meta device, where nothing is read or computed."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import comfy.text_encoders.wan
import torch

from ..checkpoints import Checkpoint, CheckpointError, Problem, Weights
from ..families.family import CLIP_VISION, DIT, T5
from ..kernels.machine import describe
from ..schemes import AUTO, resolve
from ..schemes.plan import Plan
from . import clip_vision, dit, t5
from .common import assign
from .tokenizer import find_tokenizer

META, CPU = torch.device("meta"), torch.device("cpu")
DTYPE = torch.bfloat16
EMBEDDING = "shared.weight"


def find_problem(checkpoint: Checkpoint, weights: Weights) -> Problem | None:
    """Why no model can be made of a checkpoint, in the words of the loader that refuses it; None if one can. weights:
    an outline's. A tokenizer is not asked for. What is of no known kind may be a diffusion model of ComfyUI's."""
    name = checkpoint.path.name
    sd = {key: tensor.to(META) for key, tensor in weights.plain.items()}
    sd |= {
        f"{layer}.weight": torch.empty(held.shape, dtype=DTYPE, device=META)
        for layer, held in weights.quantized.items()
    }
    try:
        with torch.inference_mode(), META, _in_silence():
            BUILD.get(checkpoint.kind, _dit)(sd, weights, name)
    except CheckpointError as error:
        return error.problem
    return None


def tokenizer_note(checkpoint: Checkpoint, weights: Weights) -> list[str]:
    """What the loader says of a text encoder's tokenizer if the node is given none: that it is missing, or replaced by
    one beside the file. Empty for any other model."""
    if checkpoint.kind != T5:
        return []
    rows = len(weights.plain[EMBEDDING])
    try:
        return find_tokenizer(checkpoint.path, weights.spiece_model, None, rows)[1]
    except CheckpointError as error:
        return [str(error)]


def _plan(component: str, name: str) -> Plan:
    return Plan(name, resolve(AUTO, component), describe(CPU), DTYPE)


def _dit(sd: dict[str, torch.Tensor], weights: Weights, name: str) -> None:
    dit.build_dit(sd, weights, _plan("dit", name), name, disable_dynamic=True)


def _t5(sd: dict[str, torch.Tensor], weights: Weights, name: str) -> None:
    options = t5.model_options(sd, _plan("t5", name), name)
    model = comfy.text_encoders.wan.te()(device=META, dtype=DTYPE, model_options=options)
    assign(model.umt5xxl.transformer, sd, name)


def _clip(sd: dict[str, torch.Tensor], weights: Weights, name: str) -> None:
    assign(clip_vision.QuantizedClipVision(clip_vision.config_of(sd, name), _plan("clip", name)).model, sd, name)


BUILD = {DIT: _dit, T5: _t5, CLIP_VISION: _clip}


@contextmanager
def _in_silence() -> Iterator[None]:
    """Core logs what it builds, and what it misses."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
