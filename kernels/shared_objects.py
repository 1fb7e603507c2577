"""Op libraries of other packages, loaded by path: the package is never imported and may lack everything else."""

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
