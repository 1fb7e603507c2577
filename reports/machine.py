"""x2v-quant doctor: which kernels this machine can run, and why not the others."""

import argparse

import torch

from ..formats import FORMATS
from ..kernels import LIBRARIES, survey
from ..kernels.machine import Machine, default_device, describe

# heading of the machine's part in Kernel Report, after the models'
MACHINE = "This machine:"


def run(options: argparse.Namespace) -> dict:
    return machine_report()


def machine_report(machine: Machine | None = None) -> dict:
    """{"machine", "torch", "kernels": {format: {kernel: None or the reason why not}}, "libraries": {name: {"version",
    "problem", "install"}}} for a machine, by default the GPU if there is one. Repacked formats are not listed: their
    kernels are among those of their family. `problem`: None for a library that is installed and loads. `install`: one
    line for this operating system, empty if there is nothing to install."""
    machine = machine or describe(default_device())
    return {
        "machine": str(machine),
        "system": machine.system,
        "torch": torch.__version__,
        "kernels": {name: survey(name, machine) for name, row in FORMATS.items() if row.family == name},
        "libraries": _libraries(machine),
    }


def _libraries(machine: Machine) -> dict[str, dict]:
    """An entry per library. Of libraries that are releases of one package only the first that works is listed, with
    the ones that do not."""
    rows, serving = {}, set()
    for name, library in LIBRARIES.items():
        problem = library.problem(machine)
        if problem is None and library.packages in serving:
            continue
        if problem is None:
            serving.add(library.packages)
        rows[name] = {"version": library.version(), "problem": problem, "install": library.advice(machine)}
    return rows


def lines(report: dict) -> list[str]:
    """`machine_report` in words: a line per format and per kernel, best first, then one per library. No indentation: a
    node draws none."""
    found = [f"{report['machine']}, {report['system']}, torch {report['torch']}"]
    for format_name, kernels in report["kernels"].items():
        found.append(f"{format_name}:")
        found += [f"- {name}: {'yes' if reason is None else f'no, {reason}'}" for name, reason in kernels.items()]
    found.append("libraries:")
    for name, library in report["libraries"].items():
        version = f" {library['version']}" if library["version"] else ""
        found.append(f"- {name}{version}: {'found' if library['problem'] is None else library['problem']}")
    return found
