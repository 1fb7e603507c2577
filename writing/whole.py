"""A small file that is there as a whole or not at all, whatever happens while it is written."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import WriteError, words
from .locking import only_writer
from .names import PARTIAL, beside, check_path


@contextlib.contextmanager
def whole_file(path: Path, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A file to write to, which gets the name `path` at the end, once the disk has all of it; after an error nothing
    is left. Folders on the way are made.

    Raises WriteError if it is there already and not to be overwritten, if another process is writing it, for a name
    that not every system takes, and in place of the OSError of a disk.
    """
    check_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with only_writer(path), _partial(path) as partial:
            if not overwrite and os.path.lexists(path):
                raise WriteError(f"{path} is there already. Choose another name.")
            with partial.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
    except OSError as error:
        raise WriteError(words(path, error)) from error


def made_folder(path: Path) -> Path:
    """The folder, made with those on the way. Raises WriteError for a name that not every system takes, for what is no
    folder, and in place of the OSError of a disk."""
    check_path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise WriteError(f"{path} is there already and is no folder. Choose another one.") from error
    except OSError as error:
        raise WriteError(words(path, error)) from error
    return path


@contextlib.contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """Where the file lies until it is whole; nothing is there before, and after."""
    partial = beside(path, PARTIAL)
    partial.unlink(missing_ok=True)
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)
