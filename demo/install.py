"""Writes the demo's files into a ComfyUI that is there already: the command `x2v-quant demo-models`."""

import argparse
import os
from pathlib import Path

from ..common.sizes import amount
from . import assets
from .graph import TEMPLATES


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=_models_folder, help="the models folder of a ComfyUI, e.g. ComfyUI/models")


def run(options: argparse.Namespace) -> dict:
    return install(options.folder)


def install(models: Path) -> dict:
    """Writes the models below `models`: {"files": paths as strings}. Raises CheckpointError if a trained part is
    missing."""
    return {"files": [str(path) for path in assets.write(models)]}


def lines(found: dict) -> list[str]:
    """`install`'s report for a person."""
    size = sum(Path(path).stat().st_size for path in found["files"])
    return [
        f"Saved {len(found['files'])} files, {amount(size)}. In ComfyUI, press R: the loaders list them. The template "
        f"{TEMPLATES['t2v']!r} runs without them.",
        "",
        *found["files"],
    ]


def _models_folder(text: str) -> Path:
    folder = Path(text).expanduser()
    if not os.path.isdir(folder):
        raise argparse.ArgumentTypeError(f"there is no folder {text}: name the models folder of a ComfyUI")
    return folder
