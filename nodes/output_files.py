"""Where in ComfyUI's output folder a node saves a file."""

import os
from pathlib import Path

import folder_paths

from ..writing import check_name


def numbered(filename_prefix: str, ending: str) -> Path:
    """The next file of this prefix, numbered as core numbers what it saves. Raises WriteError if the prefix has a name
    that not every system takes, and what core raises if it leads out of the folder."""
    _check(filename_prefix, ending)
    folder, name, counter, _, _ = folder_paths.get_save_image_path(filename_prefix, folder_paths.get_output_directory())
    return Path(folder) / f"{name}_{counter:05}_{ending}"


def below_output(path: Path) -> str:
    """What a client may know of where a file of `numbered` lies."""
    return Path(os.path.relpath(path, folder_paths.get_output_directory())).as_posix()


def _check(filename_prefix: str, ending: str) -> None:
    """Before core makes the folders."""
    *folders, name = filename_prefix.replace(os.sep, "/").split("/")
    for folder in folders:
        if folder not in ("", ".", ".."):
            check_name(folder)
    check_name(f"{name}_00001_{ending}")
