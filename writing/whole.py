"""Writes a small file atomically: complete or not there, whatever happens in between."""

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
    """Context manager with a binary file to write to. It gets the name `path` at the end, once everything is on disk;
    after an error nothing is left. Parent folders are made.

    Raises WriteError if the file exists and `overwrite` is off, if another process is writing it, for a name that is
    not valid on every system, and in place of an OSError.
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
    """Make the folder and its parents, and return it. Raises WriteError for a name that is not valid on every system,
    if a file is there, and in place of an OSError."""
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
    """The path of the unfinished file, removed before and after."""
    partial = beside(path, PARTIAL)
    partial.unlink(missing_ok=True)
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)
