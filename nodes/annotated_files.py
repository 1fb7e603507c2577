"""Files in ComfyUI's input, output and temp folders, by core's annotated names."""

import os
from pathlib import Path

import folder_paths


def annotated_path(name: str) -> Path | None:
    """The file for "NAME", "NAME [output]" or "NAME [temp]", symbolic links resolved; None if it does not exist or lies
    outside the folder, which core itself checks from 0.27 on."""
    plain, folder = folder_paths.annotated_filepath(name)
    return inside(folder or folder_paths.get_input_directory(), plain)


def inside(folder: str | Path, name: str | Path) -> Path | None:
    """The file `name` in a folder, symbolic links resolved; None if it does not exist or lies outside."""
    if "\0" in str(name):
        return None
    path = Path(os.path.realpath(os.path.join(folder, name)))
    return path if path.is_relative_to(os.path.realpath(folder)) and os.path.isfile(path) else None
