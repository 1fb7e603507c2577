"""The error for a file that cannot be written, and messages for the system's errors."""

import errno
from pathlib import Path

from ..common.printable import PrintableError


class WriteError(PrintableError, ValueError):
    """A file cannot be written. The message names file, cause and remedy in one or two sentences."""


def words(target: Path, error: OSError) -> str:
    """The message for an OSError in writing `target`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{target} does not fit on its disk. Make room, or choose another target."
    if error.errno == errno.EFBIG:
        return f"{target} is larger than its disk takes files (FAT: 4 GB). Choose another disk, or write shards."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{target} cannot be written: {error.strerror}. Choose a folder that you may write to."
    if error.errno == errno.ENAMETOOLONG:
        return f"{target} cannot be written: its name or path is too long for the disk. Choose a shorter one."
    if error.errno == errno.ELOOP:
        return f"{target} cannot be written: a link in its path leads back to itself. Choose another folder."
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return f"{target} cannot be written: {target.parent} is no folder. Check the path."
    return f"{target} cannot be written: {error.strerror or error}. Check the path and its disk."
