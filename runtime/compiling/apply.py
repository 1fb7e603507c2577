"""Compiles the blocks of a MODEL one by one when it is first sampled."""

import functools
import os
import re
from collections import Counter

import comfy.model_management
import torch
from comfy.patcher_extension import WrappersMP
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY, TORCH_COMPILE_KWARGS, apply_torch_compile_factory
from torch._inductor import cpp_builder
from torch._inductor.exc import InvalidCxxCompiler

from ...kernels import LIBRARIES
from ...kernels.machine import describe
from ..offload.blocks import blocks_of
from ..offload.settings import AUTO, MODEL
from ..offload.state import DIFFUSION_MODEL, offload_state
from .counting import Compilations, CountingBackend, counting, failures_told

KEY = "x2v_quant.compile"
TORCH = os.path.dirname(torch.__file__)
INDUCTOR = "inductor"
# dynamo silently gives up on a code object after 8 variants by default. All blocks of a model share one code object:
# one variant per kind of block, one more per kind of LoRA beside the weights, one for the first other size
VARIANTS = 64
# dynamo's name for something in transformer_options, as in "kwargs['transformer_options']['patches']"
OPTIONS = re.compile(r"transformer_options(?:'\])?(?P<path>.*)")
PATCHES = ("['patches']", "['patches_replace']", "['optimized_attention_override']")


def compiled(patcher, backend: str = INDUCTOR):
    """ModelPatcher -> (a clone whose blocks run through torch.compile, notes). The patcher itself if this machine
    cannot compile, with the reason as the note. backend: a name that torch.compile knows.

    Uses core's own wrapper, so modules are unchanged between calls. Blocks of one kind share a graph, which stays valid
    for other prompts and other strengths of a merged LoRA. `compilations_of(clone)` counts the compilations.
    """
    problem = why_not(patcher.load_device) if backend == INDUCTOR else None
    if problem is not None:
        return patcher, [f"not compiled: {problem}"]
    notes = []
    if patcher.is_dynamic():
        notes.append("dynamic VRAM is off for this model: its paging cannot be compiled")
    clone = patcher.clone(disable_dynamic=True)
    if not blocks_of(clone.model.diffusion_model):
        notes.append(f"{type(clone.model.diffusion_model).__name__} has no blocks: it is compiled as a whole")
    _compile(clone, counting(backend))
    return clone, notes + _streaming(clone)


def compiled_again(patcher) -> bool:
    """Compile the blocks anew of a patcher from `compiled` whose model has been replaced. Returns False and does
    nothing for any other patcher, or if another node has compiled it since."""
    backend = patcher.model_options.get(TORCH_COMPILE_KWARGS, {}).get("backend")
    if not isinstance(backend, CountingBackend):
        return False
    _compile(patcher, backend)
    return True


def _compile(patcher, backend: CountingBackend) -> None:
    """Set the patcher up so that its blocks are compiled at the first call, with a new count."""
    blocks = blocks_of(patcher.model.diffusion_model)
    keys = [f"{DIFFUSION_MODEL}{block.name}" for block in blocks] or [DIFFUSION_MODEL.rstrip(".")]
    settings = {"backend": backend, "mode": None, "fullgraph": False, "dynamic": None}
    # core's set_torch_compile_wrapper loses the filter after the first module: torch pops it from the shared options
    modules = {
        key: torch.compile(patcher.get_model_object(key), options={"guard_filter_fn": guards_kept}, **settings)
        for key in keys
    }
    report = Compilations(len(keys))
    for key in (KEY, COMPILE_KEY):
        patcher.remove_wrappers_with_key(WrappersMP.APPLY_MODEL, key)
    patcher.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, functools.partial(_watched, report, backend))
    patcher.add_wrapper_with_key(WrappersMP.APPLY_MODEL, COMPILE_KEY, apply_torch_compile_factory(modules))
    # core reads these where it compiles a copy of the model
    patcher.model_options[TORCH_COMPILE_KWARGS] = {**settings, "options": {"guard_filter_fn": guards_kept}}
    patcher.set_attachments(KEY, report)


def compilations_of(patcher) -> Compilations | None:
    """The compilations of a MODEL from `compiled` and its clones; None for any other."""
    return patcher.attachments.get(KEY)


def guards_kept(entries) -> list[bool]:
    """torch.compile's guard filter: for each guard, whether to keep it. Drops guards on transformer_options, which
    hold the current step and block and would force a compilation for each. Keeps those on the patches in there and on
    whether there are any: else a compiled block would use those of its first call, in every MODEL of the process."""
    return [_is_kept(entry) for entry in entries]


def _is_kept(entry) -> bool:
    options = OPTIONS.search(entry.name)
    if options is None:
        return True
    path = options["path"]
    return path.startswith(PATCHES) if path else entry.guard_type == "DICT_CONTAINS"


def why_not(device: torch.device) -> str | None:
    """Why inductor does not compile for `device`, None if it can."""
    if comfy.model_management.is_device_cpu(device):
        if os.name != "nt" and " " in TORCH:  # what it hands to the linker is not quoted
            return f"inductor cannot link for models on the CPU where torch's folder has a space in its path ({TORCH})"
        try:
            cpp_builder.get_cpp_compiler()
        except InvalidCxxCompiler:
            return "inductor needs a C++ compiler for models on the CPU, and there is none"
        return None
    problem = LIBRARIES["triton"].problem(describe(device))
    return None if problem is None else f"inductor {problem}"


def _watched(report: Compilations, backend, executor, *args, **kwargs):
    """APPLY_MODEL wrapper around core's: counts compilations."""
    before, told = backend.graphs, Counter(failures_told())
    try:
        with torch._dynamo.config.patch(recompile_limit=VARIANTS):
            return executor(*args, **kwargs)
    finally:
        report.add(backend.graphs - before, list(Counter(failures_told()) - told))


def _streaming(patcher) -> list[str]:
    found = offload_state(patcher)
    if found is None or found.settings.mode in (AUTO, MODEL):
        return []
    return ["Offload Control streams the blocks of this model: while it does, they run uncompiled"]
