"""Writes the demo's files into a ComfyUI that is there already: the command `x2v-quant demo-models`."""

import argparse
import os
from pathlib import Path

from ..writing import whole_file
from . import assets
from .graph import TEMPLATES
from .prompts import DEFAULT
from .video import start_image

START_IMAGE = "x2v_demo_start.png"  # what the template demo_i2v begins with
START_SEED = 1


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=_models_folder, help="the models folder of a ComfyUI")


def run(options: argparse.Namespace) -> dict:
    return install(options.folder)


def install(models: Path) -> dict:
    """Writes the models below `models` and the start image into the input folder beside it, if there is one.

    {"files": paths as strings}. Raises CheckpointError if a trained part is missing.
    """
    files = assets.write(models)
    inputs = models.parent / "input"
    if inputs.is_dir():
        files = [*files, inputs / START_IMAGE]
        with whole_file(files[-1], overwrite=True) as file:
            start_image(DEFAULT, START_SEED).save(file, format="PNG")
    return {"files": [str(path) for path in files]}


def lines(found: dict) -> list[str]:
    """`install`'s report for a person."""
    size = sum(Path(path).stat().st_size for path in found["files"])
    return [
        *found["files"],
        "",
        f"{len(found['files'])} files, {size / 1e6:.0f} MB. In ComfyUI: press R, then Browse templates > x2v-quant > "
        f"{TEMPLATES['t2v']}.",
    ]


def _models_folder(text: str) -> Path:
    folder = Path(text).expanduser()
    if not os.path.isdir(folder):
        raise argparse.ArgumentTypeError(f"there is no folder {text}: name the models folder of a ComfyUI")
    return folder
