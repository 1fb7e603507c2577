"""What this machine can run and why not the rest, in words and as data."""

import torch

from .formats import FORMATS
from .kernels import survey
from .machine import Machine, default_device, describe


def machine_report(machine: Machine | None = None) -> dict:
    """{"machine", "torch", "kernels": {format: {kernel: None or the reason why not}}} for a machine, by default the
    GPU if there is one."""
    machine = machine or describe(default_device())
    return {
        "machine": str(machine),
        "torch": torch.__version__,
        "kernels": {name: survey(name, machine) for name in FORMATS},
    }


def machine_lines(report: dict) -> list[str]:
    """`machine_report` in words: a line per format and per kernel, best first. No indentation: a node draws none."""
    lines = [f"{report['machine']}, torch {report['torch']}"]
    for format_name, kernels in report["kernels"].items():
        lines.append(f"{format_name}:")
        lines += [f"- {name}: {'yes' if reason is None else f'no, {reason}'}" for name, reason in kernels.items()]
    return lines
