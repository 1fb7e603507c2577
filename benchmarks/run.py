"""All benchmarks as one report: a table for people, an object for programs."""

import json
import platform
import re
import time
from pathlib import Path

import torch

from ..kernels import LIBRARIES
from ..machine import default_device, describe
from .case import TIMES

PARTS = ("linear", "sampling", "loading")


def report(parts=PARTS) -> dict:
    """{"cases": [{name, ours, theirs, unit, target, ratio, met}], machine, versions, date}."""
    from .comfyui import use_comfyui

    use_comfyui()
    from . import linear, loading, sampling

    modules = {"linear": linear, "sampling": sampling, "loading": loading}
    return _with_machine([case for part in parts for case in modules[part].cases()])


def kernel_report(model: str | None, tokens: int | None, keep: bool) -> dict:
    """The same of every kernel at the shapes of `model` (a file) or of Wan; keep: the winners are saved for `auto`."""
    from .comfyui import use_comfyui

    use_comfyui()
    from . import kernels

    return _with_machine(kernels.cases(model, tokens, keep=keep))


def write(report: dict, folder: str) -> Path:
    """Keep the report as JSON in `folder`, under the machine's name."""
    name = re.sub(r"[^a-z0-9]+", "-", report["machine"].split(" (compute")[0].lower()).strip("-")
    file = Path(folder) / f"{name}.json"
    file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return file


def _with_machine(cases) -> dict:
    import comfyui_version

    libraries = dict(filter(None, (library.distribution() for library in LIBRARIES.values())))
    return {
        "cases": [case.as_dict() for case in cases],
        "machine": str(describe(default_device())),
        "cpu": _cpu(),
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "comfyui": comfyui_version.__version__,
            **libraries,
        },
        "date": time.strftime("%Y-%m-%d"),
    }


def table(cases: list[dict]) -> str:
    """Markdown; medians, and for each promised ratio whether it was met."""
    lines = ["| case | ours | theirs | ratio | promised |", "| --- | ---: | ---: | ---: | --- |"]
    for case in cases:
        sign = ">=" if case["unit"] in TIMES else "<="
        promise = "" if case["target"] is None else f"{sign} {case['target']} {'met' if case['met'] else 'MISSED'}"
        figures = (f"{case[side]:.4g} {case['unit']}" for side in ("ours", "theirs"))
        lines.append(f"| {case['name']} | {' | '.join(figures)} | {case['ratio']:.2f} | {promise} |")
    return "\n".join(lines)


def lines(report: dict) -> list[str]:
    """The report for a person."""
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    cpu = f"{report['cpu']['name']} with {report['threads']} threads ({' '.join(report['cpu']['flags'])})"
    device = "" if report["machine"].startswith("CPU") else f"{report['machine']}, "
    return [table(report["cases"]), "", f"{device}{cpu}, {versions}"]


def _cpu() -> dict:
    flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    wanted = ("avx2", "avx512_f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_int8")
    return {"name": flags.get("cpu_name", platform.processor()), "flags": [flag for flag in wanted if flags.get(flag)]}
