"""Checks whether a checkpoint would load, by its headers, its small tensors and ComfyUI's models."""

from ..checkpoints import Checkpoint, Outline, Problem, read_outline
from ..checkpoints.nearest import nearest
from ..common.importing import quick_imports
from ..core.on_path import StartError, use_comfyui
from ..families import UNKNOWN_DIT, UNRECOGNISED

UNTRIED = "not checked with ComfyUI's models, because there is no ComfyUI here: set COMFYUI_PATH to its folder"
PERHAPS = "ComfyUI may know it: set COMFYUI_PATH to its folder, and this looks there too."


def outline_of(checkpoint: Checkpoint) -> Outline:
    """The outline of a checkpoint; its problems include those that loading would raise. Without ComfyUI a note says
    what was not checked."""
    if checkpoint.problems:
        return Outline(problems=checkpoint.problems)
    outline = read_outline(checkpoint)
    if outline.problems:
        return outline
    try:
        use_comfyui(cpu=True)
    except StartError:
        outline.notes.append(UNTRIED)
        outline.problems += _unknown(checkpoint)
        return outline
    with quick_imports():
        from ..loading.trial import find_problem, tokenizer_note

    problem = find_problem(checkpoint, outline.weights)
    if problem is None:
        outline.notes += tokenizer_note(checkpoint, outline.weights)
    else:
        outline.problems.append(problem)
    return outline


def _unknown(checkpoint: Checkpoint) -> list[Problem]:
    """The problem of a model that is in no family here, if ComfyUI is missing, which may know it."""
    if checkpoint.family not in (UNKNOWN_DIT, UNRECOGNISED):
        return []
    like = nearest(key.removeprefix(checkpoint.prefix) for key in checkpoint.tensors)
    what = "a quantized model that is not known here" if checkpoint.layers else checkpoint.model
    return [Problem(checkpoint.path.name, "", f"is {what}{like}", PERHAPS)]
