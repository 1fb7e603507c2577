"""Operators of other packages: loaded by path, so that the package is never imported and may lack everything else, and
what their releases take."""

import importlib.util
from pathlib import Path

import torch

from .libraries import LacksError


def folders(package: str) -> list[Path]:
    """Where the top-level `package` lies; empty if it is nowhere. Also a folder without an __init__.py is a package."""
    spec = importlib.util.find_spec(package)
    return [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []


def load(package: str, *stems: str) -> None:
    """Register the torch operators of every shared object `<stem>.*` below the package's folder.

    Raises LacksError if there is none of them, OSError if one cannot be loaded.
    """
    files = [f for folder in folders(package) for stem in stems for f in sorted(folder.glob(f"{stem}.*so"))]
    if not files:
        raise LacksError(f"lacks the shared object {package}/{stems[0]}")
    for file in files:
        torch.ops.load_library(str(file))


def accepted(op: torch._ops.OpOverload, **arguments) -> dict:
    """Those of `arguments` that the operator's own schema has: releases rename and drop some."""
    names = {argument.name for argument in op._schema.arguments}
    return {name: value for name, value in arguments.items() if name in names}


def optional(op: torch._ops.OpOverload) -> set[str]:
    """The operator's arguments that may be None: those without a default still have to be given."""
    return {argument.name for argument in op._schema.arguments if argument.type.kind() == "OptionalType"}
