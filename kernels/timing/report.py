"""A report of measurements: the cases, and the machine and the versions that they are of."""

import json
import platform
import re
import time
from pathlib import Path

import torch

from ...core.on_path import use_comfyui
from ...writing import whole_file
from .. import LIBRARIES
from ..machine import default_device, describe
from .case import Case
from .clock import FULL, QUICK

COMMAND = "x2v-quant bench"
# the widest instructions say what a CPU's figures mean: flag -> word for a file's name
WIDEST = {
    "amx_int8": "amx",
    "avx512_vnni": "avx512-vnni",
    "avx_vnni": "avx-vnni",
    "avx512_f": "avx512",
    "avx2": "avx2",
}
FLAGS = ("avx2", "avx512_f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_int8")


def kernel_report(model: str | None, tokens: int | None, keep: bool, quick: bool = False) -> dict:
    """{"cases": [{name, ours, theirs, unit, target, part, absent, spread, ratio, met}], command, machine, versions,
    date} of every kernel at the shapes of `model` (a file) or of Wan. keep: the winners are saved for `auto`; quick: a
    small case, to see that it runs."""
    use_comfyui()
    from . import kernels

    chosen = ["--kernels", *([Path(model).name] if model else []), *([f"--tokens {tokens}"] if tokens else [])]
    cases = kernels.cases(model, tokens, QUICK if quick else FULL, keep)
    return with_machine(cases, " ".join([COMMAND, *chosen, *(["--quick"] if quick else [])]))


def write(report: dict, folder: str) -> Path:
    """Keep the report as JSON in `folder`, under the machine's name."""
    path = Path(folder) / f"{file_name(report)}.json"
    with whole_file(path, overwrite=True) as file:
        file.write(f"{json.dumps(report, indent=1)}\n".encode())
    return path


def file_name(report: dict) -> str:
    """The GPU, or the CPU with its widest instructions and threads: CPUs of one name differ in both."""
    words = [report["machine"].split(" (compute")[0]]
    if words[0].startswith("CPU"):
        flags = report["cpu"]["flags"]
        words += [next((word for flag, word in WIDEST.items() if flag in flags), ""), f"{report['threads']} threads"]
    words += [option for option in ("kernels", "quick") if f"--{option}" in report["command"]]
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")


def with_machine(cases: list[Case], command: str) -> dict:
    """The report of `cases`, which `command` measured here. ComfyUI has to be on the path."""
    import comfyui_version

    libraries = dict(filter(None, (library.distribution() for library in LIBRARIES.values())))
    return {
        "cases": [case.as_dict() for case in cases],
        "command": command,
        "machine": str(describe(default_device())),
        "cpu": cpu(),
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "comfyui": comfyui_version.__version__,
            **libraries,
        },
        "date": time.strftime("%Y-%m-%d"),
    }


def cpu() -> dict:
    """{"name", "flags": those of FLAGS that it has}"""
    flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return {"name": flags.get("cpu_name", platform.processor()), "flags": [flag for flag in FLAGS if flags.get(flag)]}
