"""x2v-quant bench: kernels are timed by the pack itself, everything else by the repository's benchmarks."""

import argparse
from pathlib import Path

from ..kernels.timing.listing import lines
from ..writing import made_folder
from .checkout import module_of

__all__ = ["PARTS", "arguments", "lines", "ok", "run"]

# each is a module of benchmarks/ with cases(effort)
PARTS = ("linear", "blocks", "sampling", "loading", "converting", "file_converting", "offloading", "sampler_patch")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part; may be given several times")
    parser.add_argument(
        "--kernels",
        nargs="?",
        const="",
        metavar="MODEL",
        help="every kernel that runs here at the shapes of this model file, by default at those of Wan",
    )
    parser.add_argument("--tokens", type=_rows, help="with --kernels: rows of x; default 32760 on a GPU, 1024 on a CPU")
    parser.add_argument("--save", action="store_true", help="with --kernels: scheme auto takes the winners from now on")
    parser.add_argument("--quick", action="store_true", help="small sizes: see that it runs, not how fast")
    parser.add_argument("--results", metavar="FOLDER", help="also write the figures there, under the machine's name")


def run(options: argparse.Namespace) -> dict:
    """The report. Raises StartError, and CheckoutError without --kernels where there is no benchmarks/."""
    from ..kernels.timing import report

    benchmarks = module_of("benchmarks.run", report.COMMAND) if options.kernels is None else None
    if options.results:
        made_folder(Path(options.results))
    if benchmarks is None:
        found = report.kernel_report(options.kernels or None, options.tokens, options.save, options.quick)
    else:
        found = benchmarks.report(options.part or PARTS, options.quick)
    if options.results:
        report.write(found, options.results)
    return found


def ok(found: dict) -> bool:
    """Whether every promise was kept."""
    return all(case["met"] is not False for case in found["cases"])


def _rows(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return int(text)
