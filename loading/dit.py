"""Load Quantized DiT: a diffusion transformer as core's MODEL."""

import json
from pathlib import Path

import comfy.model_management
import comfy.sd
import torch

from ..checkpoints import CheckpointError, open_checkpoint
from ..checkpoints.expert_names import expert_of
from ..linear import operations
from ..loras import stackable
from ..schemes import DIT, SchemeChoice
from .common import INCOMPLETE, announce, check_complete, compute_dtype, make_plan, read_file, same_shapes, state_dict

# what core assumes of a Wan model whose file says nothing
WAN_TEXT_DIM = 4096


def load_dit(path: str, choice: SchemeChoice | None = None, unquantized: bool = False, disable_dynamic: bool = False):
    """File or folder -> ModelPatcher whose linear layers are quantized; the plan is `patcher.model.x2v_plan`.

    unquantized: a model that is not will do too. disable_dynamic: core asks for it when it reloads the model for
    torch.compile or a second GPU. Raises CheckpointError, UnknownSchemeError, SchemeMismatchError or NoKernelError
    before anything is sampled.
    """
    choice = choice or SchemeChoice()
    checkpoint = open_checkpoint(path)
    checkpoint.require("dit", unquantized)
    device = comfy.model_management.get_torch_device()
    dtype = compute_dtype(choice, device)
    plan = make_plan(checkpoint, DIT, choice, device, dtype)
    weights = checkpoint.load(read_file)
    sd = state_dict(weights, plan)
    given = set(sd)
    name = Path(path).name
    try:
        with same_shapes(name):
            patcher = comfy.sd.load_diffusion_model_state_dict(
                sd,
                {"custom_operations": operations(plan), "dtype": _storage_dtype(weights.plain, dtype)},
                metadata=_with_config(weights),
                disable_dynamic=disable_dynamic,
            )
    except KeyError as error:  # core reads the model's dimensions off tensors it takes to be there
        raise CheckpointError(f"{name}: {error.args[0]} is missing. {INCOMPLETE}") from error
    if patcher is None:
        raise CheckpointError(
            f"{name}: ComfyUI does not recognise this diffusion model. Update ComfyUI or use another file."
        )
    check_complete(patcher.model.diffusion_model, given, name)
    patcher.model.manual_cast_dtype = dtype
    patcher.model.x2v_plan = plan
    patcher.model.x2v_expert = expert_of(str(path))
    patcher.cached_patcher_init = (load_dit, (path, choice, unquantized))
    stackable(patcher)
    announce(plan)
    return patcher


def _storage_dtype(plain: dict[str, torch.Tensor], compute: torch.dtype) -> torch.dtype:
    """Unquantized weights are kept in the compute dtype if it has 16 bits, else as the file has most of them."""
    if compute != torch.float32:
        return compute
    sizes: dict[torch.dtype, int] = {}
    for tensor in plain.values():
        if tensor.dtype.is_floating_point:
            sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.numel()
    return max(sizes, key=sizes.get, default=torch.float32)


def _with_config(weights) -> dict[str, str]:
    """The file's metadata, with the one dimension of a Wan model that core does not read off the weights."""
    metadata = dict(weights.metadata)
    text = weights.plain.get("text_embedding.0.weight")
    if "config" not in metadata and text is not None and text.shape[1] != WAN_TEXT_DIM:
        metadata["config"] = json.dumps({"transformer": {"text_dim": text.shape[1]}})
    return metadata
