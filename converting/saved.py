"""What `convert` says first of a file that it has written: its size, and what loads it."""

from pathlib import Path

from ..checkpoints.checkpoint import LOADERS
from ..checkpoints.encodings import COMFYUI
from ..common.sizes import amount
from ..core.features import release_that_reads
from ..formats import FORMATS
from .outputs import NO_TOKENIZER


def saved(report: dict) -> str:
    """The name, the size before and after, and the next step. report: as convert() returns it."""
    target = Path(report["target"])
    sizes = f"Saved {target.name}: {amount(report['source_bytes'])} -> {amount(report['bytes'])}."
    if report["kind"] not in LOADERS:
        return sizes
    folder = LOADERS[report["kind"]][3]
    if folder in target.absolute().parent.parts:
        return f"{sizes} In ComfyUI, press R and pick it in {_loaders(report)}."
    return f"{sizes} Put it into models/{folder} and pick it in {_loaders(report)}."


def _loaders(report: dict) -> str:
    """The nodes that take the file, core's as well where it is in ComfyUI's dialect and whole."""
    ours, cores = LOADERS[report["kind"]][:2]
    if report["dialect"] != COMFYUI or NO_TOKENIZER in report["notes"]:
        return ours
    newer = release_that_reads({FORMATS[name].marker for name in report["formats"]})
    return f"{ours}, or from ComfyUI {newer} on in {cores}" if newer else f"{cores} or {ours}"
