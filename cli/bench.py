"""x2v-quant bench: kernels are timed by the pack itself, everything else by the repository's benchmarks."""

import argparse
from pathlib import Path

from ..common.typed_numbers import between
from ..kernels.timing.listing import lines
from ..writing import made_folder
from .checkout import module_of

__all__ = ["PARTS", "arguments", "lines", "ok", "run"]

# each is a module of benchmarks/ with cases(effort)
PARTS = ("linear", "blocks", "sampling", "loading", "converting", "file_converting", "offloading", "sampler_patch")


def arguments(parser: argparse.ArgumentParser) -> None:
    kernels = parser.add_argument_group("kernels", "Time each way to compute a layer. This works everywhere.")
    kernels.add_argument(
        "--kernels",
        nargs="?",
        const="",
        metavar="MODEL",
        help="measure every kernel that runs here with the layers of this model file; without MODEL with those of Wan",
    )
    kernels.add_argument(
        "--tokens",
        type=between(int, 1),
        metavar="N",
        help="with --kernels: how long the input is; default: 32760 on a GPU, which is 81 frames of 832 x 480, and "
        "1024 on a CPU",
    )
    kernels.add_argument(
        "--save",
        action="store_true",
        help="with --kernels: from now on the scheme auto takes what was fastest; default: only show it",
    )
    parts = parser.add_argument_group("everything else", "For developers, in a copy of the repository.")
    parts.add_argument(
        "--part",
        action="append",
        choices=PARTS,
        metavar="PART",
        help=f"only {', '.join(PARTS[:-1])} or {PARTS[-1]}; default: all. May be given several times",
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs; default: real sizes")
    parser.add_argument(
        "--results", metavar="FOLDER", help="also write the figures there, as JSON named after the machine"
    )


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
