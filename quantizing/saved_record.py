"""What a saved file says of how its weights were rounded: by the plan of the model that was quantized in memory."""

from ..formats import FORMATS
from ..rounding import METHODS
from ..rounding.record import Record
from .rounder import NEAREST


def record(patcher, part: str) -> Record:
    """part: the submodule that the plan's names are relative to. A layer that gets a LoRA while it is saved is rounded
    to the nearest; one that came with its codes does not count."""
    plan = getattr(patcher.model, "x2v_plan", None)
    entries = {} if plan is None else {name: entry for name, entry in plan.layers.items() if entry.rounding}
    patched = {key.removeprefix(f"{part}.").removesuffix(".weight") for key in patcher.patches}
    made = {
        name: (entry.choice.format, NEAREST if name in patched else METHODS[entry.rounding])
        for name, entry in entries.items()
    }
    smoothed = [name for name, entry in entries.items() if FORMATS[entry.choice.format].smooth]
    return Record.of(made, smoothed, *((0, 0) if plan is None else plan.calibrated))
