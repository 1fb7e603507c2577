"""What a format is good for on a machine: fast or only small, why, and what to install to make it fast."""

from dataclasses import dataclass, replace

import torch

from ..formats import family
from .kernel import FAST, Kernel
from .libraries import LIBRARIES
from .machine import Machine
from .registry import KERNELS, choose, running


@dataclass(frozen=True)
class Outlook:
    """`kernel`: what `auto` takes. `reason`: why one that would come first does not run, None if there is none; one for
    this kind of device if there is one.
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


def _reason(passed_over: dict[str, str], format_name: str, machine: Machine) -> str | None:
    near = {k.name for k in KERNELS if family(k.format) == family(format_name) and k.requires.kind == machine.kind}
    return next((passed_over[name] for name in [*filter(near.__contains__, passed_over), *passed_over]), None)


def ever_fast(format_name: str) -> bool:
    """Whether any machine multiplies values of this format's family."""
    return any(k.good_for == FAST for k in KERNELS if family(k.format) == family(format_name))


def _install(kernel: Kernel, format_name: str, machine: Machine, shape, dtype) -> str:
    if kernel.good_for == FAST:
        return ""
    better = choose(format_name, _with_every_library(machine), shape, dtype=dtype).kernel
    if better.good_for != FAST or better.requires.library is None:
        return ""
    return LIBRARIES[better.requires.library].advice(machine)


def _with_every_library(machine: Machine) -> Machine:
    return replace(machine, live=None, libraries=frozenset(LIBRARIES))
