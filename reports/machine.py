"""x2v-quant doctor: what is fast on this machine, which kernels it can run, and why not the others."""

import argparse

import torch

from ..formats import FORMATS
from ..kernels import LIBRARIES, in_words, missing_library, outlook, running, survey, useful_libraries
from ..kernels.machine import Machine, default_device, describe
from .machine_text import MACHINE, lines, summary

__all__ = ["MACHINE", "lines", "machine_report", "run", "summary"]


def run(options: argparse.Namespace) -> dict:
    return machine_report()


def machine_report(machine: Machine | None = None) -> dict:
    """{"machine", "system", "torch", "formats": {format: {"kernel", "good_for", "reason", "install"}}, "kernels":
    {format: {kernel: None or the reason why not}}, "good_for": {format: {kernel that runs: what for}}, "lacks":
    {format: {kernel: the library with which it would run}}, "libraries": {name: {"version", "installed", "problem",
    "install", "useful", "optional"}}} for a machine, by default the GPU if there is one. `formats`: see Outlook.

    Repacked formats are not listed: their kernels are among those of their family. `problem`: None for a library that
    is installed and loads. `install`: one line for this operating system, empty if there is nothing to install.
    `useful`: it brings a kernel that would run here.
    """
    machine = machine or describe(default_device())
    formats = [name for name, row in FORMATS.items() if row.family == name]
    outlooks = {name: outlook(name, machine) for name in formats}
    kernels = {name: survey(name, machine) for name in formats}
    needed = {found.install for found in outlooks.values()} - {""}
    return {
        "machine": str(machine),
        "system": machine.system,
        "torch": torch.__version__,
        "formats": {
            name: {
                "kernel": found.kernel.name,
                "good_for": in_words(found.kernel.good_for, machine),
                "reason": found.reason,
                "install": found.install,
            }
            for name, found in outlooks.items()
        },
        "kernels": kernels,
        "good_for": {
            name: {
                kernel: in_words(running(kernel, name, machine).good_for, machine)
                for kernel, reason in rows.items()
                if reason is None
            }
            for name, rows in kernels.items()
        },
        "lacks": {
            name: {
                kernel: library
                for kernel, reason in rows.items()
                if reason is not None and (library := missing_library(kernel, name, machine))
            }
            for name, rows in kernels.items()
        },
        "libraries": _libraries(machine, needed),
    }


def _libraries(machine: Machine, needed: set[str]) -> dict[str, dict]:
    """An entry per library. Of libraries that are releases of one package only the first that works is listed, with
    the ones that do not. needed: what to install to have a format fast; every other library is optional."""
    rows, serving, useful = {}, set(), useful_libraries(machine)
    for name, library in LIBRARIES.items():
        problem = library.problem(machine)
        if problem is None and library.packages in serving:
            continue
        if problem is None:
            serving.add(library.packages)
        advice = library.advice(machine)
        rows[name] = {
            "version": library.version(),
            "installed": library.found() if machine.libraries is None else problem is None,
            "problem": problem,
            "install": advice,
            "useful": name in useful,
            "optional": advice not in needed,
        }
    return rows
