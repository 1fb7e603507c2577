"""The command line's part: options, the run, and what it says."""

import argparse
import os
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from ..calibration import Calibration
from ..checkpoints.encodings import DIALECTS, LIGHTX2V
from ..common import limits
from ..common.sizes import amount
from ..core.on_path import use_comfyui
from ..layer_rules import Override, parse_overrides
from ..writing import beside
from . import packages, search
from .convert import convert
from .errors import ConvertError
from .options import KEPT, Options
from .writer import JOURNAL, PARTIAL

GB = 1e9
# kept layers of one reason that are named; the rest are counted
NAMED = 3


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="a .safetensors or .pth file, or the folder of a model in parts")
    parser.add_argument("target", type=Path, help="a .safetensors file, or with --package a new folder")
    parser.add_argument(
        "--format", help="of the layers: int8-channel, fp8-channel, ... or a scheme; default: a quantized source's own"
    )
    parser.add_argument("--dialect", choices=DIALECTS, default=LIGHTX2V, help=f"default: {LIGHTX2V}")
    parser.add_argument("--package", choices=packages.PACKAGES, default=packages.FILE, help="default: one file")
    parser.add_argument("--shard-size", type=float, metavar="GB", default=packages.SHARD_BYTES / GB)
    parser.add_argument(
        "--layer",
        action="append",
        default=[],
        metavar="'PATTERN = FORMAT'",
        help="another format for some layers, or 'PATTERN = keep'; may be given several times, the last one counts",
    )
    parser.add_argument("--layers", type=Path, metavar="FILE", help="such lines in a file, '#' begins a comment")
    parser.add_argument(
        "--lora",
        action="append",
        default=[],
        metavar="FILE[:STRENGTH]",
        help="merged into the weights first; may be given several times",
    )
    parser.add_argument(
        "--calibration", type=Path, metavar="FILE", help="of Finish Calibration: smooth layers that are better off so"
    )
    parser.add_argument(
        "--alpha", type=_share, help="of SmoothQuant, 0 to 1, for all layers; default: searched for each"
    )
    targets = parser.add_mutually_exclusive_group()
    targets.add_argument(
        "--target-snr", type=float, metavar="DB", help="the cheapest format for each layer whose output is this exact"
    )
    targets.add_argument(
        "--target-size", type=float, metavar="GB", help="the most exact formats with which the model has this size"
    )
    parser.add_argument(
        "--candidates",
        type=lambda text: tuple(filter(None, map(str.strip, text.split(",")))),
        default=(),
        metavar="FORMAT,FORMAT",
        help="what a target chooses from; default: all that the dialect has, some 15 seconds for each GB of the source "
        "on one core, 25 with a calibration",
    )
    parser.add_argument("--keep-as", choices=KEPT, help="type of what is not quantized; default: the source's")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")
    parser.add_argument("--overwrite", action="store_true", help="replace a file of that name")


def run(options: argparse.Namespace) -> dict:
    """convert's report. Raises what it raises."""
    if options.lora:
        use_comfyui()
    wanted = Options(
        format=options.format,
        dialect=options.dialect,
        package=options.package,
        shard_bytes=int(options.shard_size * GB),
        overrides=tuple(_overrides(options)),
        loras=tuple(map(_lora, options.lora)),
        calibration=_calibration(options.calibration),
        alpha=options.alpha,
        kept=options.keep_as,
        target_snr=options.target_snr,
        target_size=None if options.target_size is None else int(options.target_size * GB),
        candidates=options.candidates,
        resume=options.resume,
        overwrite=options.overwrite,
    )
    words = (["measuring"] if wanted.measures else []) + ["writing"]
    with closing(Bars(words)) as bars:
        try:
            return convert(options.source, options.target, wanted, bars)
        except KeyboardInterrupt as stop:
            raise ConvertError(_interrupted(options.target)) from stop


def _interrupted(target: Path) -> str:
    partial, journal = beside(target, PARTIAL), beside(target, JOURNAL)
    if not journal.exists():
        return f"{target} is not begun: interrupted. Nothing was written."
    return (
        f"{target} is not finished: interrupted. Say --resume to go on from here, or delete {partial.name} and "
        f"{journal.name} beside it."
    )


class Bars:
    """A Progress that shows a bar for each of `words`, one after the other: a full one is followed by the next."""

    def __init__(self, words: Iterable[str]):
        self._words = iter(words)
        self._bar: tqdm | None = None
        self._done = 0

    def __call__(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = tqdm(total=total, desc=next(self._words), unit="B", unit_scale=True, disable=None)
        self._bar.update(done - self._done)
        self._done = done
        if done == total:
            self.close()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar, self._done = None, 0


def _calibration(path: Path | None) -> Calibration | None:
    if path is None:
        return None
    if not os.path.isfile(path):
        raise ConvertError(f"There is no calibration at {path}. Check the path.")
    return Calibration.load(path)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def lines(report: dict) -> list[str]:
    """The report for a person."""
    formats = ", ".join(f"{count} layer{'s' * (count > 1)} {name}" for name, count in report["formats"].items())
    rate = amount(report["bytes"] / max(report["seconds"], 1e-9))
    head = f"{report['target']}: {amount(report['bytes'])} in {report['seconds']:.1f} s ({rate}/s)"
    found = [head, f"{report['model']}, rules for {report['family']}, dialect {report['dialect']}: {formats}"]
    reasons: dict[str, list[str]] = {}
    for layer, reason in report["kept"].items():
        reasons.setdefault(reason, []).append(layer)
    for reason, layers in reasons.items():
        more = f" and {len(layers) - NAMED} more" if len(layers) > NAMED else ""
        found.append(f"- kept: {', '.join(layers[:NAMED])}{more}: {reason}")
    found += search.lines(report["chosen"]) if report["chosen"] else []
    return found + [f"note: {note}" for note in report["notes"]]


def _overrides(options: argparse.Namespace) -> list[Override]:
    """Those of the file first, so that the command line has the last word."""
    text = _text_of(options.layers) if options.layers is not None else ""
    return [*parse_overrides(text), *parse_overrides("\n".join(options.layer))]


def _text_of(path: Path) -> str:
    """As much of it as tells that it is too long: a pipe or a device may have no end."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return file.read(limits.LAYER_RULES_CHARS + 1)
    except OSError as error:
        raise ConvertError(f"{path} cannot be read: {error.strerror}. Check the path.") from error
    except UnicodeDecodeError as error:
        raise ConvertError(f"{path} is no text in UTF-8. Give a file of lines like 'blocks.0 = keep'.") from error


def _lora(text: str) -> tuple[Path, float]:
    """FILE or FILE:STRENGTH; a drive's colon is no strength."""
    file, colon, strength = text.rpartition(":")
    try:
        return (Path(file), float(strength)) if colon else (Path(text), 1.0)
    except ValueError:
        return Path(text), 1.0
