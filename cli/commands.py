"""Every subcommand of x2v-quant and the module that does it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """`module`, below the pack, is imported when the command is the one. It has run(options) -> the report, one object
    for --json, and lines(report) -> the report for a person; where there is something to say, arguments(parser), which
    adds to the subcommand's parser, and ok(report), which decides the exit status."""

    name: str
    help: str
    module: str


COMMANDS = (
    Command(
        "inspect",
        "say what a model file or folder is, and what is wrong with it, without loading its weights",
        "reports.checkpoint",
    ),
    Command(
        "convert",
        "quantize a model's file, or change the format or dialect of a quantized one",
        "converting.command",
    ),
    Command(
        "compare",
        "sample two forms of a model with the same noise: what each step and each layer of the second one loses",
        "comparing.command",
    ),
    Command(
        "doctor",
        "say which kernels this machine can run, and why not the rest",
        "reports.machine",
    ),
    Command(
        "schemes",
        "every scheme, its format, what its own kernel needs and whether it runs here",
        "reports.schemes",
    ),
    Command(
        "run",
        "run a saved workflow without a browser, on a server of its own or on one that runs already",
        "headless.run",
    ),
    Command(
        "swap",
        "put this pack's loaders into a workflow in place of ComfyUI's, where they can stand in",
        "headless.swap",
    ),
    Command(
        "bench",
        "measure speed and memory against what ComfyUI and torch do by themselves",
        "cli.bench",
    ),
    Command(
        "fidelity",
        "measure what each format and kernel costs in quality, on the demo's model, against ComfyUI's bf16",
        "benchmarks.fidelity.command",
    ),
    Command(
        "demo-models",
        "write the demo's small models into the models folder of a ComfyUI",
        "demo.install",
    ),
)
