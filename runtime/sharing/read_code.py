"""Whether the code of a module of core's is what was read when its layers were said to share their input."""

import functools
import hashlib
import inspect
import types

import torch

from ...families import FAMILIES
from ...families.family import SharingModule

ROWS = {row.forward: row for family in FAMILIES for row in family.sharing}


def row_of(module: torch.nn.Module) -> SharingModule | None:
    """The row for the module's forward, whether or not its code is as it was read; None if there is no row."""
    forward = type(module).forward
    return ROWS.get(f"{forward.__module__}:{forward.__qualname__}") if inspect.isfunction(forward) else None


def is_as_read(row: SharingModule, module: torch.nn.Module) -> bool:
    return digest(type(module).forward.__code__) in row.read


@functools.cache
def digest(code: types.CodeType) -> str:
    """Hash of the source of the code that really runs: a wrapper with the name of the wrapped function has another."""
    source = inspect.getsource(code)
    return hashlib.sha256("\n".join(line.rstrip() for line in source.splitlines()).encode()).hexdigest()[:12]
