"""What a format is good for on a machine: fast or only small, why, and what to install to make it fast."""

from dataclasses import dataclass, replace

import torch

from ..formats import family
from .kernel import FAST, Kernel, Requirements
from .libraries import LIBRARIES
from .machine import Machine
from .registry import KERNELS, choose, running

UNTESTED = "should be fast (not tested on AMD)"
# compute capability -> the cards of users that have it first
CARDS = {(7, 5): "RTX 20", (8, 0): "RTX 30", (8, 9): "RTX 40", (9, 0): "H100", (10, 0): "RTX 50", (12, 0): "RTX 50"}


@dataclass(frozen=True)
class Outlook:
    """`kernel`: what `auto` takes. `reason`: why a kernel that would come first does not run, None if there is none: of
    the fast ones for this kind of device the one that asks for the least, if there is one.
    `install`: one line of what to install to have the format fast, empty if it is fast or if nothing makes it so."""

    kernel: Kernel
    reason: str | None
    install: str

    @property
    def fast(self) -> bool:
        return self.kernel.good_for == FAST


def outlook(
    format_name: str, machine: Machine, shape: tuple[int, int] | None = None, dtype: torch.dtype | None = None
) -> Outlook:
    """Of a format, for a weight of `shape` (N, K) and an x of `dtype` if given."""
    choice = choose(format_name, machine, shape, dtype=dtype)
    reason = _reason(choice.passed_over, format_name, machine)
    return Outlook(choice.kernel, reason, _install(choice.kernel, format_name, machine, shape, dtype))


def missing_library(name: str, format_name: str, machine: Machine) -> str | None:
    """The library with which the kernel `name`, which does not run here, would run; None if that is not enough."""
    kernel = running(name, format_name, _with_every_library(machine))
    return None if kernel is None else kernel.requires.library


def in_words(good_for: str, machine: Machine) -> str:
    """What a kernel is good for on this machine. None was ever run on an AMD GPU."""
    return UNTESTED if machine.amd and good_for == FAST else good_for


def _reason(passed_over: dict[str, str], format_name: str, machine: Machine) -> str | None:
    near = [k for k in fast_kernels(format_name) if k.requires.kind == machine.kind and k.name in passed_over]
    for kernel in sorted(near, key=lambda k: k.requires.min_capability or (0, 0)):
        return _too_old(kernel.requires, machine) or passed_over[kernel.name]
    return next(iter(passed_over.values()), None)


def _too_old(requires: Requirements, machine: Machine) -> str | None:
    first = requires.min_capability
    if first is None or not machine.nvidia or machine.capability >= first:
        return None
    return f"needs an {CARDS[first]} or newer"


def fast_kernels(format_name: str) -> list[Kernel]:
    """Those that multiply values of this format's family, on any machine."""
    return [k for k in KERNELS if k.good_for == FAST and family(k.format) == family(format_name)]


def ever_fast(format_name: str) -> bool:
    """Whether any machine multiplies values of this format's family."""
    return bool(fast_kernels(format_name))


def useful_libraries(machine: Machine) -> set[str]:
    """Those that bring a kernel which would run here."""
    full = _with_every_library(machine)
    return {k.requires.library for k in KERNELS if k.requires.library and k.requires.unmet(full) is None}


def _install(kernel: Kernel, format_name: str, machine: Machine, shape, dtype) -> str:
    if kernel.good_for == FAST:
        return ""
    better = choose(format_name, _with_every_library(machine), shape, dtype=dtype).kernel
    if better.good_for != FAST or better.requires.library is None:
        return ""
    return LIBRARIES[better.requires.library].advice(machine)


def _with_every_library(machine: Machine) -> Machine:
    return replace(machine, live=None, libraries=frozenset(LIBRARIES))
