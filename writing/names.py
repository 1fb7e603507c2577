"""File names that are valid on every system: people copy files from Linux to Windows, where some names are devices."""

import errno
import hashlib
import os
import unicodedata
from pathlib import Path

from ..common import limits
from .errors import WriteError, words

# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
DEVICES = {
    *("CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"),
    *(f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789¹²³"),
}
# a colon means a drive, or an alternate stream, which no list of files shows
REFUSED = frozenset('<>:"/\\|?*')
# control characters, halves of surrogate pairs, line and paragraph separators
CATEGORIES = ("Cc", "Cs", "Zl", "Zp")
# bidirectional controls reverse what is shown: "gpj.exe" for "exe.jpg"
TURNING = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))

# extension of an unfinished file
PARTIAL = ".partial"
# the longest extension that any writer adds to a target's name
ENDING_BYTES = len(f"{PARTIAL}.journal")


def check_name(name: str) -> None:
    """Raise WriteError unless `name`, one component of a path, is valid on every system."""
    cause = unfit(name)
    if cause:
        raise WriteError(f"{name!r} is not a name for a file: {cause}. Choose another one.")


def check_path(path: Path) -> None:
    """Raise WriteError if the last component of `path`, or a parent folder that does not exist yet, has a name that is
    not valid on every system or too long for the disk."""
    for part in (path, *path.parents):
        if part != path and os.path.lexists(part):
            break
        check_name(part.name)
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise WriteError(words(path, error)) from error


def beside(path: Path, ending: str) -> Path:
    """`path` with `ending` added to its name. A name too long for disks is shortened, deterministically."""
    name = path.name
    room = limits.NAME_BYTES - ENDING_BYTES
    if _length(name) > room:
        digest = f"-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        name = name.encode()[: room - len(digest)].decode(errors="ignore") + digest
    return path.with_name(f"{name}{ending}")


def unfit(name: str) -> str:
    """Why a name is not valid on every system, "" if it is."""
    if name in ("", ".", ".."):
        return "it is empty or leads elsewhere"
    if any(unicodedata.category(char) in CATEGORIES or char in TURNING for char in name):
        return "it has a control character"
    refused = next((char for char in name if char in REFUSED), None)
    if refused:
        return f"Windows does not allow {refused} in names"
    if name.endswith((".", " ")):
        return "Windows drops the dot or space at its end"
    device = name.partition(".")[0].rstrip(" ").upper()
    if device in DEVICES:
        return f"Windows has a device called {device}"
    if _length(name) > limits.NAME_BYTES:
        return f"it is {_length(name)} bytes long, and disks take {limits.NAME_BYTES}"
    return ""


def _length(name: str) -> int:
    """Length in the units that this system limits: UTF-16 units on Windows, else bytes."""
    return len(name.encode("utf-16-le")) // 2 if os.name == "nt" else len(name.encode())
