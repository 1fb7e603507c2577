"""The fastest kernel per format and shape as `x2v-quant bench --kernels --save` measured it on this machine."""

import functools
import json
import os
import sys
from pathlib import Path

import torch

from ..formats import family
from ..writing import whole_file
from .machine import Machine

FILE = "kernels.json"
# (family, name) -> saved when the name stood for several kernels: which of them was fastest is not known
TOLD_APART = {("fp8-channel", "torch")}


def path() -> Path:
    """In X2V_QUANT_HOME if that is set, else in the user's folder for settings."""
    if "X2V_QUANT_HOME" in os.environ:
        return Path(os.environ["X2V_QUANT_HOME"]) / FILE
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config"))
    return base / "x2v-quant" / FILE


def winner(format_name: str, machine: Machine, shape: tuple[int, int] | None) -> str | None:
    """The kernel that was fastest for a weight of `shape` (N, K), None if it was not measured here."""
    if shape is None or machine.live is None:
        return None
    kernel = _saved(path()).get(_machine(machine), {}).get(family(format_name), {}).get(_shape(shape))
    return None if (family(format_name), kernel) in TOLD_APART else kernel


def save(machine: Machine, fastest: dict[tuple[str, tuple[int, int]], str]) -> Path:
    """Add (format, (N, K)) -> kernel to what is saved of this machine; other machines' and shapes' entries stay."""
    file = path()
    table = dict(_read(file))
    entries = table.setdefault(_machine(machine), {})
    for (format_name, shape), kernel in fastest.items():
        entries.setdefault(family(format_name), {})[_shape(shape)] = kernel
    with whole_file(file, overwrite=True) as written:
        written.write(json.dumps(table, indent=1).encode())
    _saved.cache_clear()
    return file


def _machine(machine: Machine) -> str:
    # another torch brings other kernels: what it was faster than may no longer hold
    return f"{machine}, torch {torch.__version__}"


def _shape(shape: tuple[int, int]) -> str:
    return f"{shape[0]}x{shape[1]}"


@functools.cache
def _saved(file: Path) -> dict:
    return _read(file)


def _read(file: Path) -> dict:
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}
