"""Load Quantized T5: the umt5 text encoder of Wan as core's CLIP."""

from pathlib import Path

import comfy.model_management
import comfy.sd
import comfy.text_encoders.wan
import torch

from ..checkpoints import open_checkpoint
from ..linear import operations
from ..schemes import T5, SchemeChoice
from ..schemes.plan import Plan
from .common import announce, assign, compute_dtype, make_plan, read_file, say, state_dict, wanted
from .sizes import t5_sizes
from .tokenizer import find_tokenizer


def load_t5(
    path: str,
    choice: SchemeChoice | None = None,
    tokenizer: str | None = None,
    embedding_directory: list[str] | None = None,
    unquantized: bool = False,
    disable_dynamic: bool = False,
):
    """File -> comfy.sd.CLIP; its plan is `clip.cond_stage_model.x2v_plan`.

    tokenizer: a sentencepiece file, a folder with spiece.model or a safetensors file that contains one; None takes the
    checkpoint's own or one beside it. unquantized: accept an unquantized encoder too. Raises CheckpointError,
    UnknownSchemeError, SchemeMismatchError or NoKernelError.
    """
    choice = choice or SchemeChoice()
    checkpoint = open_checkpoint(path)
    checkpoint.require("t5", unquantized)
    device = comfy.model_management.text_encoder_device()
    dtype = compute_dtype(choice, device, fp16_is_safe=False)
    plan = make_plan(checkpoint, T5, choice, device, dtype)
    weights = checkpoint.load(read_file)
    sd = state_dict(weights, plan)
    config = t5_sizes(sd, Path(path).name)
    spiece, notes = find_tokenizer(Path(path), weights.spiece_model, tokenizer, config["vocab_size"])
    say(plan, notes)

    class Target:
        clip = comfy.text_encoders.wan.te()
        tokenizer = comfy.text_encoders.wan.WanT5Tokenizer
        params = {}  # noqa: RUF012 - core's CLIP reads it as an attribute and copies it

    clip = comfy.sd.CLIP(
        Target,
        embedding_directory=embedding_directory,
        tokenizer_data={"spiece_model": spiece},
        model_options=model_options(sd, plan, Path(path).name),
        disable_dynamic=disable_dynamic,
    )
    encoder = clip.cond_stage_model.umt5xxl.transformer
    # built on meta and assigned: nothing is allocated twice, the 2 GB embedding stays in the file
    say(plan, assign(encoder, sd, Path(path).name))
    clip.cond_stage_model.x2v_plan = plan
    clip.patcher.cached_patcher_init = (_load_patcher, (path, choice, tokenizer, embedding_directory, unquantized))
    announce(plan)
    return clip


def _load_patcher(*args, disable_dynamic: bool = False):
    return load_t5(*args, disable_dynamic=disable_dynamic).patcher


def model_options(sd: dict[str, torch.Tensor], plan: Plan, file: str) -> dict:
    """The model options with which core builds the encoder."""
    return {
        "custom_operations": operations(plan),
        "dtype": wanted(sd, "encoder.final_layer_norm.weight", file).dtype,
        "umt5xxl_model_config": t5_sizes(sd, file),
        "initial_device": torch.device("meta"),
    }
