"""The command line's part: options, the run, and what it says."""

import argparse
import os
import re
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from ..calibration import DEFAULT_ALPHA, Calibration
from ..checkpoints.encodings import COMFYUI, DIALECTS, LIGHTX2V, X2V
from ..common import limits
from ..common.decibels import SCALE
from ..common.typed_numbers import between
from ..core.on_path import use_comfyui
from ..formats import ROTATED_TWINS, ROTATIONS
from ..layer_rules import Override, parse_overrides
from ..rounding import AUTO, CHOICES
from ..rounding.record import words_of
from ..writing import beside
from . import packages, search
from .convert import convert
from .dialects import choices
from .errors import ConvertError
from .options import KEPT, Options
from .rotation import NONE
from .saved import saved
from .writer import JOURNAL, PARTIAL

GB = 1e9
GIGABYTES = 1e-6, 1e6
DECIBELS = -100.0, 1000.0
# dialect -> what reads it
READERS = {
    X2V: ("this pack",),
    COMFYUI: ("ComfyUI's own loaders", "this pack"),
    LIGHTX2V: ("LightX2V", "this pack"),
}
# work is no number of bytes where rounding takes longer than writing
BAR = "{desc}: {percentage:3.0f}% |{bar}| {elapsed}, {remaining} left"
# kept layers of one reason that are named; the rest are counted
NAMED = 3
# how reasons begin that go on from the name of one layer
A_LAYER_IS = re.compile(r"^is (an? |the )?")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, help="a .safetensors or .pth file, or the folder of a model in parts")
    parser.add_argument("target", type=Path, help="a new .safetensors file; with --package the name of a new folder")
    parser.add_argument(
        "--format",
        metavar="NAME",
        help=f"{', '.join(choices(X2V))}, or a name of x2v-quant schemes, for instance int8 or fp8. Default: a "
        "quantized source keeps its own; any other becomes fp8 if this computer computes in fp8 (RTX 40 and 50), else "
        "int8",
    )
    parser.add_argument(
        "--dialect",
        choices=DIALECTS,
        default=X2V,
        help=f"who reads the file. {_readers()}. Default: {X2V}, which has every format; {LIGHTX2V} has "
        f"{', '.join(choices(LIGHTX2V))}; {COMFYUI} has {', '.join(choices(COMFYUI))}",
    )
    parser.add_argument(
        "--rounding",
        choices=CHOICES,
        default=AUTO,
        help="how weights are rounded; nearest is the fastest, gptq the most exact and needs --calibration. Default: "
        f"{AUTO}, gptq where the calibration has a layer's inputs, else the best one without",
    )
    parser.add_argument(
        "--lora",
        action="append",
        default=[],
        metavar="FILE[:STRENGTH]",
        help="merge a LoRA into the weights first, for instance speed.safetensors:0.8; strength by default: 1. May be "
        "given several times",
    )
    parser.add_argument("--resume", action="store_true", help="continue a run that was stopped; default: begin again")
    parser.add_argument("--overwrite", action="store_true", help="replace the target if it exists; default: refuse")
    _target_arguments(parser.add_argument_group("formats by quality or by size", "In place of --format."))
    _expert_arguments(parser.add_argument_group("for experts"))


def _target_arguments(group: argparse._ArgumentGroup) -> None:
    targets = group.add_mutually_exclusive_group()
    targets.add_argument(
        "--target-snr",
        type=between(float, *DECIBELS),
        metavar="DB",
        help="aim at this quality, e.g. 30: each layer gets the smallest format that reaches it. Higher dB is better, "
        "6 dB more is half the error",
    )
    targets.add_argument(
        "--target-size",
        type=between(float, *GIGABYTES),
        metavar="GB",
        help="aim at this size of the whole model, e.g. 9.5: the most exact formats that fit",
    )
    group.add_argument(
        "--candidates",
        type=lambda text: tuple(filter(None, map(str.strip, text.split(",")))),
        default=(),
        metavar="NAME,NAME",
        help="the formats to choose from, e.g. int8,int4-g128. Default: all of the dialect but convrot-w4a4, the least "
        "exact. Fewer take less time; how long it takes is shown before it begins",
    )


def _expert_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--layer",
        action="append",
        default=[],
        metavar="'PATTERN = NAME'",
        help="another format for some layers, e.g. 'blocks.0.* = fp8' or 'ffn.2 = keep'. May be given several times; "
        "the last one that fits counts",
    )
    group.add_argument("--layers", type=Path, metavar="FILE", help="a text file of such lines; # begins a comment")
    group.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="saved by Finish Calibration: smooth the layers that get more exact by it, and round by the inputs in it "
        "(gptq); default: neither",
    )
    group.add_argument(
        "--alpha",
        type=between(float, 0, 1),
        metavar="X",
        help=f"one strength of the smoothing for all layers, e.g. {DEFAULT_ALPHA}; typical: 0.5 to 0.85; default: the "
        "best one for each layer",
    )
    group.add_argument(
        "--rotation",
        default=AUTO,
        metavar="N",
        help=f"input channels of {', '.join([*ROTATED_TWINS, *ROTATIONS])} that are rotated together: "
        f"{', '.join(map(str, _groups()))} (typical: 256), or {NONE}; default: {AUTO}, as --format says (int8-channel: "
        f"{NONE}; int8-convrot: 256 where it fits)",
    )
    group.add_argument(
        "--package",
        choices=packages.PACKAGES,
        default=packages.FILE,
        help="one file, a folder of shards, or a folder with a file for each block; default: file",
    )
    group.add_argument(
        "--shard-size",
        type=between(float, *GIGABYTES),
        metavar="GB",
        default=packages.SHARD_BYTES / GB,
        help=f"the most that a shard has; default: {packages.SHARD_BYTES / GB:g}",
    )
    group.add_argument(
        "--keep-as", choices=KEPT, help="type of the tensors that are not quantized; default: as in the source"
    )


def _groups() -> list[int]:
    return sorted({size for groups in ROTATIONS.values() for size in groups})


def _readers() -> str:
    return "; ".join(f"{dialect}: {' and '.join(readers)}" for dialect, readers in READERS.items())


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
        rounding=options.rounding,
        rotation=options.rotation,
        resume=options.resume,
        overwrite=options.overwrite,
    )
    with closing(Bars(["measuring", "writing"] if wanted.measures else ["writing"])) as bars:
        try:
            return convert(options.source, options.target, wanted, bars, _say)
        except KeyboardInterrupt as stop:
            raise ConvertError(_interrupted(options.target)) from stop


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


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
            self._bar = tqdm(total=total, desc=next(self._words), bar_format=BAR, disable=None)
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


def lines(report: dict) -> list[str]:
    """The report for a person: what was saved and what to do with it, then its layers."""
    formats = ", ".join(f"{count} layer{'s' * (count > 1)} {name}" for name, count in report["formats"].items())
    found = [saved(report), f"{report['model']}: {formats}; {report['seconds']:.1f} s."]
    found += [f"Rounded {rounded}." for rounded in filter(None, [words_of(report["rounding"])])]
    reasons: dict[str, list[str]] = {}
    for layer, reason in report["kept"].items():
        reasons.setdefault(reason, []).append(layer)
    for reason, layers in reasons.items():
        more = f" and {len(layers) - NAMED} more" if len(layers) > NAMED else ""
        found.append(f"- not quantized: {', '.join(layers[:NAMED])}{more} ({A_LAYER_IS.sub('', reason)})")
    if report["chosen"]:
        found += [*search.lines(report["chosen"]), SCALE]
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
