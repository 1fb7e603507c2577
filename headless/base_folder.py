"""The folder of a server that lives as long as one command: gone with it, or swept when the next one starts."""

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
    """A new one among the temporary files, where those of commands that were killed are swept first."""
    sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as made:
        mark = Path(made) / MARK
        with only_writer(mark):
            mark.write_text(str(os.getpid()))
            yield Path(made)


def sweep(place: Path) -> None:
    """Removes what is provably ours and dead: a folder of this user's with our prefix and mark, whose process is gone
    and whose lock nobody holds."""
    for mark in place.glob(f"{PREFIX}*/{MARK}"):
        with suppress(OSError, ValueError, WriteError):
            if _is_of_this_user(mark.parent) and not psutil.pid_exists(int(mark.read_text())):
                with only_writer(mark):
                    pass
                shutil.rmtree(mark.parent, ignore_errors=True)


def _is_of_this_user(folder: Path) -> bool:
    """Windows keeps the temporary files of users apart."""
    return not folder.is_symlink() and (os.name == "nt" or folder.stat().st_uid == os.getuid())
