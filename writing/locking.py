"""One writer per target file, by a lock of the operating system, which ends with the process that has it."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .errors import WriteError
from .names import PARTIAL, beside

LOCK = f"{PARTIAL}.lock"
# errors of file systems without locks, such as Lustre mounted without them: there is no protection there
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)

if os.name == "nt":
    import msvcrt

    BUSY = (errno.EACCES, errno.EDEADLK)

    def _take(file: BinaryIO) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

    def _leave(file: BinaryIO, path: Path) -> None:
        file.close()
        with contextlib.suppress(PermissionError):  # the next writer has it open
            path.unlink(missing_ok=True)

else:
    import fcntl

    BUSY = (errno.EWOULDBLOCK,)

    def _take(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _leave(file: BinaryIO, path: Path) -> None:
        path.unlink(missing_ok=True)
        file.close()


@contextlib.contextmanager
def only_writer(target: Path) -> Iterator[None]:
    """While the context is open, no other process or thread of this pack writes `target`. Its folder has to exist. A
    lock file left by a killed process does not block.

    Raises WriteError if another one is writing, OSError if no file can be made in the folder.
    """
    path = beside(target, LOCK)
    file = _locked(path, target)
    try:
        yield
    finally:
        _leave(file, path)


def _locked(path: Path, target: Path) -> BinaryIO:
    while True:
        file = path.open("ab")
        try:
            _take(file)
        except OSError as error:
            if error.errno in BUSY:
                file.close()
                raise WriteError(
                    f"{target} is being written by another run or server. Wait until it is done, or choose another "
                    "target."
                ) from error
            if error.errno not in NO_LOCKS:
                file.close()
                raise
        if _is_at(file, path):
            return file
        file.close()  # the writer before has removed it in between


def _is_at(file: BinaryIO, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())
