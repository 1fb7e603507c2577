"""The schemes that a list offers on one machine: those whose own kernel should run there."""

import functools
from dataclasses import replace

from ..formats import repackings
from ..kernels import KERNELS, LIBRARIES, Kernel
from ..kernels.machine import Machine
from ..kernels.order import LAST
from . import SCHEMES, Scheme


@functools.cache
def offered(component: str, machine: Machine) -> tuple[str, ...]:
    """Names of schemes for the loader of `component`: "auto" first, those of the slow kernels of LAST at the end.

    No library is imported and nothing is computed: one that is installed but broken counts as usable.
    """
    rows = [row for row in SCHEMES if component in row.components and _runs(row, machine)]
    return tuple(row.name for row in sorted(rows, key=lambda row: row.kernel in LAST))


def _runs(row: Scheme, machine: Machine) -> bool:
    if row.format is None:  # any format: auto and the kernels of LAST, which run everywhere
        return True
    formats = repackings(row.format)
    return any(k.called(row.kernel) and k.format in formats and _expected(k, machine) for k in KERNELS)


def _expected(kernel: Kernel, machine: Machine) -> bool:
    """Whether `kernel` should run on `machine`, as far as that can be said without importing its library."""
    library = kernel.requires.library
    if library is not None and not LIBRARIES[library].expected(machine):
        return False
    every = frozenset(row.name for row in LIBRARIES.values())  # their problems are not asked for: that imports
    return kernel.requires.unmet(replace(machine, live=None, libraries=every)) is None
