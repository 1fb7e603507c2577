"""What the processes tell each other, as files."""

from dataclasses import dataclass

RESULT, LATENTS = "result.json", "latents.safetensors"
NEGATIVE = "negative"


@dataclass(frozen=True)
class Job:
    """Paths are strings. `contestant`: a Contestant's fields; `cases`: (caption, seed); `others`: those that are
    sampled for the calibration only; `conditioning`: encoded prompts [1, tokens, width] by name; `recording`: inputs of
    the layers to be compared, and `calibration`: what smoothing goes by, both written first if `record`; `timed`:
    whether time and memory are measured; `gguf`: the folder of ComfyUI-GGUF, "" for none. RESULT and LATENTS go into
    `folder`."""

    contestant: dict
    file: str
    original: str
    conditioning: str
    cases: list
    others: list
    recording: str
    calibration: str
    record: bool
    timed: bool
    gguf: str
    folder: str


def prompt(caption: str) -> str:
    """The name of a caption among the encoded prompts, apart from NEGATIVE."""
    return f"prompt: {caption}"
