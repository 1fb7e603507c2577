"""Which kernel computes a layer here, and why the others do not."""

from dataclasses import dataclass

import torch

from ..common.printable import PrintableError
from ..formats import family, repackings
from .kernel import Kernel
from .machine import Machine
from .order import ranking
from .probe import failure

KERNELS: list[Kernel] = []


class NoKernelError(PrintableError, RuntimeError):
    """No kernel, or not the one that was insisted on, can compute a format here. The message gives every reason."""


@dataclass(frozen=True)
class Choice:
    """The kernel taken, and for every kernel that would have come before it the reason in words."""

    kernel: Kernel
    passed_over: dict[str, str]

    @property
    def format(self) -> str:
        """What the weight is stored as for the kernel: its own format or another of the family."""
        return self.kernel.format


def why_not(
    name: str,
    format_name: str,
    machine: Machine,
    shape: tuple[int, int] | None = None,
    dtype: torch.dtype | None = None,
) -> str | None:
    """Why the kernel called `name` cannot compute this format here (for a weight of `shape` (N, K) and an x of
    `dtype`), None if it can."""
    return _verdict(name, repackings(format_name), machine, shape, dtype)[1]


def running(name: str, format_name: str, machine: Machine) -> Kernel | None:
    """The kernel called `name` that computes this format here; None if `why_not` has a reason."""
    return _verdict(name, repackings(format_name), machine, None, None)[0]


def choose(
    format_name: str,
    machine: Machine,
    shape: tuple[int, int] | None = None,
    prefer: str | None = None,
    strict: bool = False,
    dtype: torch.dtype | None = None,
    as_stored: bool = False,
) -> Choice:
    """The preferred kernel if it can run, else the first of the ranking that can. as_stored: the weight stays as it is,
    so kernels of other formats of its family are out.

    Raises NoKernelError if strict and the preferred kernel cannot run, or if no kernel can.
    """
    names = ranking(format_name, machine, shape)
    if prefer is not None:
        names = [prefer] if strict else [prefer, *(name for name in names if name != prefer)]
    formats = [format_name] if as_stored else repackings(format_name)
    passed_over = {}
    for name in names:
        kernel, reason = _verdict(name, formats, machine, shape, dtype)
        if kernel is not None:
            return Choice(kernel, passed_over)
        passed_over[name] = reason
    reasons = "; ".join(f"{name} {reason}" for name, reason in passed_over.items())
    remedy = " Switch strict off to let the next kernel take over." if strict else ""
    raise NoKernelError(f"No kernel for {format_name} on {machine}: {reasons}.{remedy}")


def survey(
    format_name: str, machine: Machine, shape: tuple[int, int] | None = None, dtype: torch.dtype | None = None
) -> dict[str, str | None]:
    """Every kernel for this format, best first -> None if it runs here, else the reason why not (see `why_not`). Those
    that are only taken by name come last."""
    formats = repackings(format_name)
    others = [kernel.name for kernel in KERNELS if kernel.format in formats]
    return {
        name: why_not(name, format_name, machine, shape, dtype)
        for name in dict.fromkeys([*ranking(format_name, machine, shape), *others])
    }


def _verdict(name, formats, machine, shape, dtype) -> tuple[Kernel | None, str | None]:
    """(the kernel, None) or (None, why not). A name may stand for several kernels (for formats, kinds of device,
    variants): the first that can run speaks for it. `formats`: what the weight may be stored as, as it is first."""
    known = [k for k in KERNELS if k.called(name)]
    if not known:
        return None, "is not part of this version of x2v-quant"
    rows = [k for k in known if k.format in formats]
    if not rows:
        return None, f"computes {', '.join(sorted({family(k.format) for k in known}))}, not {formats[0]}"
    rows.sort(key=lambda k: k.format != formats[0])
    reason = None
    for row in [k for k in rows if k.requires.kind in (None, machine.kind)] or rows[:1]:
        reason = row.requires.unmet(machine, shape, dtype)
        if reason is None and machine.live is not None:
            reason = failure(row, machine.live)
        if reason is None:
            return row, None
    return None, reason
