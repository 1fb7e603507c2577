"""The temporary base folder of a server that runs for one command; leftovers are removed when the next one starts."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from ..writing import WriteError, only_writer

PREFIX = "x2v-quant-"
MARK = "owner"  # the process id of the command, which holds its lock


@contextmanager
def base_folder() -> Iterator[Path]:
    """Make a new temporary folder, after removing those of commands that were killed."""
    sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as made:
        mark = Path(made) / MARK
        with only_writer(mark):
            mark.write_text(str(os.getpid()))
            yield Path(made)


def sweep(parent: Path) -> None:
    """Remove leftover folders below `parent`: those of this user with our prefix and marker file, whose process is gone
    and whose lock is free."""
    for mark in parent.glob(f"{PREFIX}*/{MARK}"):
        with suppress(OSError, ValueError, WriteError):
            if _is_of_this_user(mark.parent) and not psutil.pid_exists(int(mark.read_text())):
                with only_writer(mark):
                    pass
                shutil.rmtree(mark.parent, ignore_errors=True)


def _is_of_this_user(folder: Path) -> bool:
    """Whether the folder belongs to this user; always on Windows, where each user has an own temporary folder."""
    return not folder.is_symlink() and (os.name == "nt" or folder.stat().st_uid == os.getuid())
