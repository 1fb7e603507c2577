"""Paths in ComfyUI's output folder for files that nodes save."""

import os
from pathlib import Path

import folder_paths

from ..writing import check_name


def numbered(filename_prefix: str, ending: str) -> Path:
    """The next path for this prefix, with core's numbering. Raises WriteError for a name that is not valid on every
    system, and core's error if the prefix leads out of the folder."""
    _check(filename_prefix, ending)
    folder, name, counter, _, _ = folder_paths.get_save_image_path(filename_prefix, folder_paths.get_output_directory())
    return Path(folder) / f"{name}_{counter:05}_{ending}"


def below_output(path: Path) -> str:
    """The path of a file from `numbered` relative to the output folder, as clients get it."""
    return Path(os.path.relpath(path, folder_paths.get_output_directory())).as_posix()


def _check(filename_prefix: str, ending: str) -> None:
    """Check the names before core makes the folders."""
    *folders, name = filename_prefix.replace(os.sep, "/").split("/")
    for folder in folders:
        if folder not in ("", ".", ".."):
            check_name(folder)
    check_name(f"{name}_00001_{ending}")
