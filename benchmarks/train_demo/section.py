"""The table of the training in docs/figures.md: from the record that lies beside the trained files."""

import json

from ...common.markdown import table
from ...demo.trained import FOLDER, RECORD

# part of the record -> what it is, and what was read off what it made
PARTS = {
    "vae": ("VAE", "reconstructions"),
    "dit": ("diffusion model with its text encoder", "prompts"),
    "clip": ("vision encoder", "frames"),
    "i2v": ("image to video", "pictures"),
}
MEASURES = {
    "colour": "colour",
    "shape": "shape",
    "direction": "direction",
    "held out": "combinations never trained on, all three",
    "kind": "colour and shape",
}


def training_section() -> str:
    record = json.loads((FOLDER / RECORD).read_text(encoding="utf-8"))
    rows = [_row(name, record[name]) for name in PARTS]
    return table(("part", "steps", "minutes", "read right"), rows, right=(1, 2))


def _row(name: str, entry: dict) -> tuple[str, str, str, str]:
    title, made = PARTS[name]
    steps = entry["steps"] if isinstance(entry["steps"], list) else [entry["steps"]]
    shares = ", ".join(f"{MEASURES[key]} {value:.0%}" for key, value in entry[made].items() if key in MEASURES)
    time = f"{entry['seconds'] / 60:.0f} ({entry['device']})"
    return title, " + ".join(map(str, steps)), time, f"{made}: {shares}"
