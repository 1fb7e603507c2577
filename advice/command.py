"""x2v-quant advise: what to take of a model for a machine."""

import argparse
from collections import Counter
from pathlib import Path

from ..checkpoints import open_checkpoint, read_outline
from ..common.importing import quick_imports
from ..common.typed_numbers import between
from ..core.on_path import use_comfyui
from ..formats import family
from ..schemes.plan import TRANSCODE, TRANSCODES
from .models import MODELS, model_named
from .size import PICTURE, VIDEO, read_size
from .text import lines

__all__ = ["arguments", "lines", "ok", "run"]

# ends of what is typed for a file, there or not
FILES = (".safetensors", ".pth", ".pt", ".json")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help=f"a model file, or one of {', '.join(MODELS)}")
    parser.add_argument("--gpu", help='an NVIDIA GPU like "RTX 3060 12GB" or "8.6 12GB" (default: this computer)')
    parser.add_argument(
        "--ram", type=between(float, 1), metavar="GB", help="RAM in GB, for instance 32 (default: of this computer)"
    )
    parser.add_argument(
        "--size",
        type=read_size,
        metavar="WxHxF",
        help=f"width, height and frames of what is made (default: {VIDEO}, of a picture {PICTURE})",
    )


def ok(report: dict) -> bool:
    return report["advice"][0]["fits"]


def run(options: argparse.Namespace) -> dict:
    """Raises AdviceError, or CheckpointError for a file that cannot be used."""
    is_file = Path(options.model).exists() or options.model.lower().endswith(FILES)
    row = None if is_file else model_named(options.model)
    use_comfyui(cpu=True)
    with quick_imports():  # here, for core imports every model that it has
        from . import footprint
        from .report import report

    if row is not None:
        return report(footprint.of_name(row, options.size), options.gpu, options.ram)
    checkpoint = open_checkpoint(options.model)
    checkpoint.require("dit", unquantized=True)
    outline = read_outline(checkpoint)
    if outline.problems:
        raise outline.problems[0].error()
    found = report(footprint.of_file(checkpoint, outline.weights, options.size), options.gpu, options.ram)
    return {**found, "notes": [*found["notes"], *_stored(checkpoint.formats, found["advice"])]}


def _stored(formats: dict[str, int], rows: list[dict]) -> list[str]:
    """Where the file's own format is in the list."""
    counts: Counter[str] = Counter()
    for name, layers in formats.items():
        counts[family(name)] += layers
    if not counts:
        return []
    name = counts.most_common(1)[0][0]
    number = next((number for number, row in enumerate(rows, start=1) if row["format"] == name), None)
    where = f"number {number} of the list" if number else "not in the list, because its loss was not measured"
    found = [f"This file is {name}: {where}."]
    if number and rows[number - 1]["weights_only"] and name in TRANSCODES:
        found.append(f"On this machine {TRANSCODE}: its layers become {TRANSCODES[name][0]}.")
    return found if number == 1 else [*found, "Another format is made from the 16-bit file, not from this one."]
