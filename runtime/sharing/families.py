"""The table of core's modules whose layers get the same input tensor, by reading their code.

The rule for a row: from the first layer of a group to the last, nothing in `forward` writes to the group's input; what
runs in between gets only the layers' outputs, which are new tensors. Inference mode keeps no version counters that
would show a write, so only code that was read counts: `read` has its digest in every release of ComfyUI that was
looked at. The test prints the digest of a new release and checks the rule by running the module.
"""

import functools
import hashlib
import inspect
import types
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class SharingModule:
    """`forward`: the function that was read, as module:name. `groups`: for each shared input the names of its layers
    in call order. `read`: `digest` of the function in the releases that were read."""

    forward: str
    groups: tuple[tuple[str, ...], ...]
    read: tuple[str, ...]


ROWS = (
    # x goes to q, k and v; norm_q, norm_k and apply_rope1 get q's and k's outputs. x is bound anew after v only
    SharingModule("comfy.ldm.wan.model:WanSelfAttention.forward", (("q", "k", "v"),), ("61313ae9b46c",)),
    # k and v get the context, q something else; norm_q and norm_k get outputs
    SharingModule("comfy.ldm.wan.model:WanT2VCrossAttention.forward", (("k", "v"),), ("25fcc1db0826",)),
    # two parts of one context, each cut out once, each for two layers; norms get outputs
    SharingModule(
        "comfy.ldm.wan.model:WanI2VCrossAttention.forward", (("k", "v"), ("k_img", "v_img")), ("95684632299d",)
    ),
    # as Wan's own; the cache is written to after v, and has memory of its own
    SharingModule("comfy.ldm.wan.ar_model:CausalWanSelfAttention.forward", (("q", "k", "v"),), ("315ea206abd2",)),
    # each stream goes to three layers, whose outputs are viewed and copied; norms and patches come after all six
    SharingModule(
        "comfy.ldm.qwen_image.model:Attention.forward",
        (("to_q", "to_k", "to_v"), ("add_q_proj", "add_k_proj", "add_v_proj")),
        ("ce2c8c4ec3cb",),
    ),
    # x goes to w1 and w3, whose outputs are multiplied after both
    SharingModule("comfy.ldm.lumina.model:FeedForward.forward", (("w1", "w3"),), ("0b00374e651b",)),
    # x goes to both in one expression, which multiplies their outputs
    SharingModule("comfy.ldm.seedvr.model:SwiGLUMLP.forward", (("proj_in_gate", "proj_in"),), ("ea056d6486e3",)),
    # to_k and to_v get x without a context, else the context, and to_q's is kept no longer; norms come after all three
    SharingModule(
        "comfy.ldm.lightricks.model:CrossAttention.forward",
        (("to_q", "to_k", "to_v"),),
        ("482cf9cf7ff6", "b598013a1606"),
    ),
    # the activation gets gate_proj's output
    SharingModule("comfy.ldm.flux.layers:YakMLP.forward", (("gate_proj", "up_proj"),), ("115f8c515ec0",)),
)
BY_FORWARD = {row.forward: row for row in ROWS}


def row_of(module: torch.nn.Module) -> SharingModule | None:
    """The row for the module's forward, whether or not its code is as it was read; None if there is no row."""
    forward = type(module).forward
    return BY_FORWARD.get(f"{forward.__module__}:{forward.__qualname__}") if inspect.isfunction(forward) else None


def is_as_read(row: SharingModule, module: torch.nn.Module) -> bool:
    return digest(type(module).forward.__code__) in row.read


@functools.cache
def digest(code: types.CodeType) -> str:
    """Hash of the source of the code that really runs: a wrapper with the name of the wrapped function has another."""
    source = inspect.getsource(code)
    return hashlib.sha256("\n".join(line.rstrip() for line in source.splitlines()).encode()).hexdigest()[:12]
