"""The command line's part: options, the run, and what it writes."""

import argparse
import importlib.util
import json
import shlex
from pathlib import Path

from ...core.on_path import use_comfyui
from ...kernels.timing.report import file_name
from ...writing import made_folder, whole_file
from .errors import FidelityError
from .table import lines

__all__ = ["arguments", "lines", "ok", "run"]

COMMAND = "x2v-quant fidelity"
CASES = 36
PICTURES = "matplotlib"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cases",
        type=int,
        default=CASES,
        metavar="N",
        help=f"how many videos each format makes; default: {CASES}, typical: 4 to try it",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        help="only formats with one of these words in their name, e.g. int8; default: all",
    )
    parser.add_argument(
        "--gguf", type=Path, metavar="FOLDER", help="of the pack ComfyUI-GGUF, to measure it too; default: without"
    )
    parser.add_argument(
        "--models",
        type=Path,
        metavar="FOLDER",
        help="a ComfyUI models folder with the demo's files; default: a temporary one",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="formats at a time: with 2 or more no time and no memory is measured; default: 1, typical: 2 on two cores",
    )
    parser.add_argument(
        "--results", type=Path, metavar="FOLDER", help="also write figures and pictures there; default: print only"
    )


def run(options: argparse.Namespace) -> dict:
    """The report. Raises FidelityError, CheckpointError or StartError, before anything is measured where possible."""
    use_comfyui()
    if importlib.util.find_spec(PICTURES) is None:
        raise FidelityError(f"The pictures need {PICTURES}: pip install {PICTURES}, or x2v-quant[bench].")
    if options.gguf is not None:
        _check_gguf(options.gguf)
    if options.cases < 1:
        raise FidelityError(f"--cases {options.cases} leaves nothing to sample: give 1 or more.")
    if options.jobs < 1:
        raise FidelityError(f"--jobs {options.jobs} lets nobody run: give 1 or more.")
    if options.results is not None:
        made_folder(options.results)
    from . import plots
    from .run import report

    found, frames = report(options.cases, options.only, options.gguf, options.models, options.jobs)
    found["command"] = " ".join([COMMAND, *_options(options)])
    if options.results is not None:
        stem = f"fidelity-{file_name(found)}"
        with whole_file(options.results / f"{stem}.json", overwrite=True) as file:
            file.write(f"{json.dumps(found, indent=1)}\n".encode())
        plots.save(found, frames, options.results, stem)
    return found


def ok(report: dict) -> bool:
    """Nobody failed and every promise was kept."""
    return all(row["error"] is None for row in report["contestants"]) and all(p["met"] for p in report["promises"])


def _options(options: argparse.Namespace) -> list[str]:
    """What decides the figures, as one would type it: folders by their names."""
    words = [f"--cases {options.cases}"]
    words += [f"--only {' '.join(map(shlex.quote, options.only))}"] if options.only else []
    words += [f"--gguf {options.gguf.name}"] if options.gguf else []
    words += [f"--models {options.models.name}"] if options.models else []
    words += [f"--jobs {options.jobs}"] if options.jobs > 1 else []
    return words


def _check_gguf(folder: Path) -> None:
    if not (folder / "nodes.py").is_file():
        raise FidelityError(f"{folder} is not the folder of ComfyUI-GGUF: it has no nodes.py.")
    if importlib.util.find_spec("gguf") is None:
        raise FidelityError("The rows of ComfyUI-GGUF need the package gguf: pip install gguf.")
