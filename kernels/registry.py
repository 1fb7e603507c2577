"""Which kernel computes a layer here, and why the others do not."""

from dataclasses import dataclass

from ..machine import Machine
from .kernel import Kernel

KERNELS: list[Kernel] = []


class NoKernelError(RuntimeError):
    """No kernel, or not the one that was insisted on, can compute a format here. The message gives every reason."""


@dataclass(frozen=True)
class Choice:
    """The kernel taken, and a reason in words for every kernel that would have come before it."""

    kernel: Kernel
    passed_over: dict[str, str]


def why_not(name: str, format_name: str, machine: Machine, shape: tuple[int, int] | None = None) -> str | None:
    """Why the kernel called `name` cannot compute this format here (for a weight of `shape` (N, K)), None if it can."""
    return _verdict(name, format_name, machine, shape)[1]


def choose(
    format_name: str,
    machine: Machine,
    shape: tuple[int, int] | None = None,
    prefer: str | None = None,
    strict: bool = False,
) -> Choice:
    """The preferred kernel if it can run, else the one of highest priority that can.

    Raises NoKernelError if strict and the preferred kernel cannot run, or if no kernel can.
    """
    names = _names(format_name)
    if prefer is not None:
        names = [prefer] if strict else [prefer, *(name for name in names if name != prefer)]
    passed_over = {}
    for name in names:
        kernel, reason = _verdict(name, format_name, machine, shape)
        if kernel is not None:
            return Choice(kernel, passed_over)
        passed_over[name] = reason
    reasons = "; ".join(f"{name} {reason}" for name, reason in passed_over.items())
    remedy = " Switch strict off to let the next kernel take over." if strict else ""
    raise NoKernelError(f"No kernel for {format_name} on {machine}: {reasons}.{remedy}")


def survey(format_name: str, machine: Machine) -> dict[str, str | None]:
    """Every kernel for this format, best first -> None if it runs on this machine, else the reason why not."""
    return {name: why_not(name, format_name, machine) for name in _names(format_name)}


def _names(format_name: str) -> list[str]:
    rows = sorted((k for k in KERNELS if format_name in k.formats), key=lambda k: -k.priority)
    return list(dict.fromkeys(k.name for k in rows))


def _verdict(name, format_name, machine, shape) -> tuple[Kernel | None, str | None]:
    """A name may stand for several rows (a kind of device, a variant): the first that can run speaks for it."""
    known = [k for k in KERNELS if k.name == name]
    if not known:
        return None, "is not part of this version of x2v-quant"
    rows = [k for k in known if format_name in k.formats]
    if not rows:
        return None, f"computes {', '.join(sorted({f for k in known for f in k.formats}))}, not {format_name}"
    for row in [k for k in rows if k.requires.kind in (None, machine.kind)] or rows[:1]:
        reason = row.requires.unmet(machine, shape)
        if reason is None:
            return row, None
    return None, reason
