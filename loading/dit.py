"""Load Quantized DiT: a diffusion transformer as core's MODEL."""

from pathlib import Path

import comfy.model_management
import comfy.sd
import torch

from ..checkpoints import Problem, Weights, open_checkpoint
from ..checkpoints.expert_names import expert_of
from ..checkpoints.nearest import nearest
from ..linear import operations
from ..loras import stackable
from ..schemes import DIT, SchemeChoice
from ..schemes.plan import Plan
from .about import about
from .common import (
    INCOMPLETE,
    UNBUILT,
    announce,
    buildable,
    check_complete,
    compute_dtype,
    counts,
    make_plan,
    read_file,
    same_shapes,
    say,
    state_dict,
)
from .config import CONFIG, OTHER_FILE, blamed, is_of_sizes, with_config

UNKNOWN = "Update ComfyUI or use another file."


def load_dit(path: str, choice: SchemeChoice | None = None, unquantized: bool = False, disable_dynamic: bool = False):
    """File or folder -> ModelPatcher with quantized linear layers; its plan is `patcher.model.x2v_plan`.

    unquantized: accept an unquantized model too. disable_dynamic: without dynamic VRAM; core passes it when it reloads
    the model for torch.compile or a second GPU. Raises CheckpointError, UnknownSchemeError, SchemeMismatchError or
    NoKernelError.
    """
    choice = choice or SchemeChoice()
    checkpoint = open_checkpoint(path)
    checkpoint.require("dit", unquantized)
    device = comfy.model_management.get_torch_device()
    dtype = compute_dtype(choice, device)
    plan = make_plan(checkpoint, DIT, choice, device, dtype)
    plan.tell(about(checkpoint))
    weights = checkpoint.load(read_file)
    patcher = build_dit(state_dict(weights, plan), weights, plan, Path(path).name, disable_dynamic=disable_dynamic)
    patcher.model.manual_cast_dtype = dtype
    patcher.model.x2v_plan = plan
    patcher.model.x2v_expert = expert_of(str(path))
    patcher.cached_patcher_init = (load_dit, (path, choice, unquantized))
    stackable(patcher)
    announce(plan)
    return patcher


def build_dit(sd: dict[str, torch.Tensor], weights: Weights, plan: Plan, name: str, **options):
    """The ModelPatcher of the state dict `sd` of `weights`, built by core's loader with its defaults. name: the file's,
    for messages. options: for core's loader. Raises CheckpointError for a model that core does not know, and for
    missing and unused tensors."""
    given = counts(sd)
    metadata = with_config(weights, name)
    model_options = {"custom_operations": operations(plan), "dtype": _storage_dtype(weights.plain, plan.compute_dtype)}
    with blamed(weights.metadata):
        with same_shapes(name), buildable(name):
            try:
                patcher = comfy.sd.load_diffusion_model_state_dict(sd, model_options, metadata=metadata, **options)
            except KeyError as error:  # core reads the model's dimensions off tensors it takes to be there
                raise Problem(name, str(error.args[0]), "is missing", INCOMPLETE).error() from error
            except (*UNBUILT, RuntimeError) as error:
                if CONFIG not in weights.metadata or not is_of_sizes(error):
                    raise
                cause = "in its metadata describes no model that ComfyUI can build of these tensors"
                raise Problem(name, CONFIG, cause, OTHER_FILE).error() from error
        if patcher is None:
            raise Problem(name, "", f"is no diffusion model that ComfyUI recognises{nearest(given)}", UNKNOWN).error()
        say(plan, check_complete(patcher.model.diffusion_model, given, name))
    return patcher


def _storage_dtype(plain: dict[str, torch.Tensor], compute: torch.dtype) -> torch.dtype:
    """The dtype for unquantized weights: the compute dtype if it has 16 bits, else the most frequent of the file."""
    if compute != torch.float32:
        return compute
    sizes: dict[torch.dtype, int] = {}
    for tensor in plain.values():
        if tensor.dtype.is_floating_point:
            sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.numel()
    return max(sizes, key=sizes.get, default=torch.float32)
