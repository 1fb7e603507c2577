"""Every subcommand of x2v-quant and the module that does it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """`module`, below the pack, is imported when the command is the one. It has run(options) -> the report, one object
    for --json, and lines(report) -> the report for a person; where there is something to say, arguments(parser), which
    adds to the subcommand's parser, and ok(report), which decides the exit status. `help`: what it is for, in a
    sentence. `examples`: what one types behind x2v-quant."""

    name: str
    help: str
    module: str
    examples: tuple[str, ...]


COMMANDS = (
    Command(
        "inspect",
        "Say what a model file is, whether it is complete and which node loads it.",
        "reports.checkpoint",
        ("inspect wan2.1_t2v_int8.safetensors",),
    ),
    Command(
        "convert",
        "Make a smaller, quantized file of a model, or write a quantized one for another program.",
        "converting.command",
        (
            "convert wan_bf16.safetensors wan_int8.safetensors --format int8",
            "convert wan_bf16.safetensors wan_small.safetensors --target-size 9.5",
            "convert wan_bf16.safetensors wan_int4.safetensors --format int4-g128 --calibration FILE",
        ),
    ),
    Command(
        "compare",
        "Sample two files of one model with the same noise and say how much the second one differs.",
        "comparing.command",
        ("compare wan_bf16.safetensors wan_int8.safetensors --vae wan_2.1_vae.safetensors",),
    ),
    Command(
        "doctor",
        "Say which formats are fast on this computer, and what to install for the others.",
        "reports.machine",
        ("doctor",),
    ),
    Command(
        "advise",
        "Say which format of a model to take for a graphics card, and what fits.",
        "advice.command",
        (
            "advise wan2.1-t2v-14b",
            'advise wan2.2-i2v-a14b --gpu "RTX 3060 12GB" --ram 32 --size 832x480x81',
        ),
    ),
    Command(
        "schemes",
        "List every scheme: its format, what it needs, and whether it runs on this computer.",
        "reports.schemes",
        ("schemes",),
    ),
    Command(
        "run",
        "Run a saved workflow without a browser, on a ComfyUI of its own or on one that runs already.",
        "headless.run",
        ("run workflow.json --set KSampler.seed=7", "run workflow.json --server http://127.0.0.1:8188"),
    ),
    Command(
        "swap",
        "Replace ComfyUI's loaders in a workflow by this pack's, in a copy of the file.",
        "headless.swap",
        ("swap workflow.json --file wan_fp16.safetensors=wan_int8.safetensors",),
    ),
    Command(
        "bench",
        "Measure speed and memory on this computer.",
        "cli.bench",
        ("bench --kernels wan2.1_t2v_int8.safetensors --save", "bench --part linear --quick"),
    ),
    Command(
        "fidelity",
        "Measure how much quality each format costs, on the small model of the demo.",
        "benchmarks.fidelity.command",
        ("fidelity --cases 4 --results results",),
    ),
    Command(
        "demo-models",
        "Write the small models of the demo into the models folder of a ComfyUI.",
        "demo.install",
        ("demo-models ComfyUI/models",),
    ),
)
