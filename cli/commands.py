"""Every subcommand of x2v-quant: what it takes, what it does, and how its report reads."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..benchmarks import run as bench
from ..benchmarks.fidelity import command as fidelity
from ..benchmarks.fidelity import table as fidelity_table
from ..benchmarks.fidelity.errors import FidelityError
from ..calibration import CalibrationError
from ..checkpoints import CheckpointError
from ..comparing import CompareError
from ..comparing import command as comparing
from ..converting import ConvertError
from ..converting import command as converting
from ..demo import install as demo_models
from ..headless import run as running
from ..headless import swap as swapping
from ..headless.client import ServerError
from ..headless.server import StartError
from ..headless.workflow import WorkflowError
from ..layer_rules import RuleError
from ..reports import checkpoint as inspection
from ..reports import machine as report
from ..reports import schemes as scheme_table
from ..writing import WriteError, made_folder


@dataclass(frozen=True)
class Command:
    """`arguments` adds to the subcommand's parser; `run` makes its report, one object for --json; `lines` is that
    report for a person; `ok` decides the exit status."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], object]
    run: Callable[[argparse.Namespace], dict]
    lines: Callable[[dict], list[str]]
    ok: Callable[[dict], bool]


def _bench_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--part", action="append", choices=bench.PARTS, help="only this part; may be given several times"
    )
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


def _rows(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return int(text)


def _bench(options: argparse.Namespace) -> dict:
    if options.results:
        made_folder(Path(options.results))
    if options.kernels is None:
        found = bench.report(options.part or bench.PARTS, options.quick)
    else:
        found = bench.kernel_report(options.kernels or None, options.tokens, options.save, options.quick)
    if options.results:
        bench.write(found, options.results)
    return found


COMMANDS = (
    Command(
        "inspect",
        "say what a model file or folder is, and what is wrong with it, without loading its weights",
        lambda parser: parser.add_argument("file", help="a model file, or the folder of a model in several files"),
        lambda options: inspection.inspect(options.file),
        inspection.lines,
        lambda found: not found["problems"],
    ),
    Command(
        "convert",
        "quantize a model's file, or change the format or dialect of a quantized one",
        converting.arguments,
        converting.run,
        converting.lines,
        lambda found: True,
    ),
    Command(
        "compare",
        "sample two forms of a model with the same noise: what each step and each layer of the second one loses",
        comparing.arguments,
        comparing.run,
        comparing.lines,
        comparing.ok,
    ),
    Command(
        "doctor",
        "say which kernels this machine can run, and why not the rest",
        lambda parser: None,
        lambda options: report.machine_report(),
        report.machine_lines,
        lambda found: True,
    ),
    Command(
        "schemes",
        "every scheme, its format, what its own kernel needs and whether it runs here",
        lambda parser: None,
        lambda options: scheme_table.table(),
        scheme_table.lines,
        lambda found: True,
    ),
    Command(
        "run",
        "run a saved workflow without a browser, on a server of its own or on one that runs already",
        running.arguments,
        running.run,
        running.lines,
        lambda found: True,
    ),
    Command(
        "swap",
        "put this pack's loaders into a workflow in place of ComfyUI's, where they can stand in",
        swapping.arguments,
        swapping.run,
        swapping.lines,
        swapping.ok,
    ),
    Command(
        "bench",
        "measure speed and memory against what ComfyUI and torch do by themselves",
        _bench_arguments,
        _bench,
        bench.lines,
        lambda found: all(case["met"] is not False for case in found["cases"]),
    ),
    Command(
        "fidelity",
        "measure what each format and kernel costs in quality, on the demo's model, against ComfyUI's bf16",
        fidelity.arguments,
        fidelity.run,
        fidelity_table.lines,
        fidelity.ok,
    ),
    Command(
        "demo-models",
        "write the demo's small models into the models folder of a ComfyUI",
        demo_models.arguments,
        lambda options: demo_models.install(options.folder),
        demo_models.lines,
        lambda found: True,
    ),
)


ERRORS = (
    *(StartError, ServerError, WorkflowError),
    *(CalibrationError, CheckpointError, CompareError, ConvertError, FidelityError, RuleError, WriteError),
)
