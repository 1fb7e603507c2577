"""What a loaded diffusion model is and what it needs, in a line or two: for the loader's node, the log and reports."""

import functools
import re

from ..checkpoints import Checkpoint
from ..checkpoints.expert_names import HIGH, LOW, WITH_NOISE, expert_of
from ..formats import family

# "lightx2v_4step", "4steps_v1.0", "8-step": no more steps than files are distilled to
STEPS = re.compile(r"(?<![a-z0-9])([1-8])[ _-]?steps?(?![a-z])", re.IGNORECASE)
# the experts of Wan 2.2 have the tensors of Wan 2.1
T2V, T2V_EXPERT = "Wan 2.1 t2v", "Wan 2.2 t2v"
EXPERTS = ("Wan 2.1 t2v", "Wan 2.2 i2v")
HALVES = {
    HIGH: "High-noise expert: it makes the first steps, its low-noise file the last ones.",
    LOW: "Low-noise expert: it makes the last steps, its high-noise file the first ones.",
}


def about(checkpoint: Checkpoint) -> str:
    """As "Wan 2.1 i2v, int8. Makes video from a picture: ... 4-step file: set 4 steps and cfg 1."

    Steps, and which expert it is, come from the file's name: the tensors are the same.
    """
    name = checkpoint.path.name
    model, half = checkpoint.model, expert(checkpoint)
    if half and model == T2V:
        model = T2V_EXPERT
    formats = dict.fromkeys(family(stored).partition("-")[0] for stored in checkpoint.formats)
    steps = STEPS.search(name)
    parts = [
        f"{', '.join([model, *formats])}.",
        checkpoint.told.variant.use,
        HALVES.get(half, ""),
        f"{steps[1]}-step file: set {steps[1]} steps and cfg 1." if steps else "",
    ]
    return " ".join(filter(None, parts))


def about_both(about: str) -> str:
    """The text for a pair, from that for one of its experts."""
    return functools.reduce(lambda text, half: text.replace(f" {half}", ""), HALVES.values(), about)


def expert(checkpoint: Checkpoint) -> str | None:
    """HIGH or LOW for a file, or a file in a folder, whose name says high or low noise."""
    path = str(checkpoint.path)
    return expert_of(path) if checkpoint.model in EXPERTS and WITH_NOISE.search(path) else None
