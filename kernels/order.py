"""Which kernel `auto` tries first, by format and compute capability: data, each row with its source."""

from dataclasses import dataclass

from ..formats import family
from ..machine import Machine

# after everything else: they run anywhere
LAST = ("dequant", "reference")
ANY = (99, 9)


@dataclass(frozen=True)
class Order:
    """For GPUs of compute capability `first` to `last` (both included; None: every machine) and a family of formats."""

    family: str
    first: tuple[int, int] | None
    last: tuple[int, int] | None
    kernels: tuple[str, ...]
    source: str


ORDERS = (
    Order("int8-channel", None, None, ("torch",), "the only kernel without a library"),
    Order("fp8-channel", None, None, ("torch",), "the only kernel without a library"),
)


def ranking(format_name: str, machine: Machine, shape: tuple[int, int] | None) -> list[str]:
    """Kernel names for `auto`, best first."""
    name = family(format_name)
    for row in ORDERS:
        if row.family == name and _covers(row, machine):
            return [*row.kernels, *LAST]
    return list(LAST)


def _covers(row: Order, machine: Machine) -> bool:
    if row.first is None:
        return True
    return machine.capability is not None and row.first <= machine.capability <= row.last
