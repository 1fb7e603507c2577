"""The JSON beside the shards of a model: which tensor is in which of them."""

import functools
import json
from pathlib import Path

from ..common import limits
from ..common.printable import printable
from ..common.sizes import amount
from .endings import INDEXES
from .errors import CheckpointError, Problem


def indexes(folder: Path) -> list[Path]:
    """Those of a folder, of safetensors files before those of PyTorch files."""
    return [path for suffix in INDEXES for path in sorted(folder.glob(f"*{suffix}")) if path.is_file()]


def listed_endings(path: Path) -> tuple[str, ...]:
    """How the files end that an index may name."""
    return next(endings for suffix, endings in INDEXES.items() if path.name.endswith(suffix))


def weight_map(path: Path) -> dict[str, str]:
    """Tensor name -> file name. Raises CheckpointError for anything else than an index."""
    size = path.stat().st_size
    if size > limits.INDEX_BYTES:
        cause = f"is {amount(size)} large; the index of a model has at most {amount(limits.INDEX_BYTES)}"
        raise Problem(path.name, "", cause, "Remove it, or get the model's own.").error()
    try:
        index = json.loads(path.read_bytes())
    except OSError as error:
        cause = f"cannot be read: {error.strerror}"
        raise Problem(path.name, "", cause, "Check the file and its permissions.").error() from error
    except (ValueError, RecursionError) as error:
        raise Problem(path.name, "", "is no JSON", "Download it again.").error() from error
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise Problem(path.name, "weight_map", "is no table of file names", "Download it again.").error()
    if any(printable(name) != name for pair in names.items() for name in pair):
        raise Problem(path.name, "weight_map", "has names that are not text", "Download it again.").error()
    return names


def named_files(path: Path) -> frozenset[str]:
    """The files that an index names, read anew only when it has changed: lists ask for every file beside it. Raises
    CheckpointError as `weight_map`."""
    stat = path.stat()
    found = _named_files(path, stat.st_size, stat.st_mtime_ns)
    if isinstance(found, CheckpointError):
        raise found
    return found


@functools.lru_cache(maxsize=limits.INDEXES_KEPT)
def _named_files(path: Path, size: int, modified: int) -> frozenset[str] | CheckpointError:
    try:
        return frozenset(weight_map(path).values())
    except CheckpointError as error:
        return error
