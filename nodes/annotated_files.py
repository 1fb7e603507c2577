"""Files in ComfyUI's input, output and temp folders, by the names that core has for them."""

import os
from pathlib import Path

import folder_paths


def annotated_path(name: str) -> Path | None:
    """The file that "NAME", "NAME [output]" or "NAME [temp]" means, links followed; None for one that is not there and
    for all that lies outside of the folder, whatever is there. Core itself looks at that from 0.27 on."""
    plain, folder = folder_paths.annotated_filepath(name)
    return inside(folder or folder_paths.get_input_directory(), plain)


def inside(folder: str | Path, name: str | Path) -> Path | None:
    """The file `name` of a folder, links followed; None if there is none, or it lies elsewhere."""
    if "\0" in str(name):
        return None
    path = Path(os.path.realpath(os.path.join(folder, name)))
    return path if path.is_relative_to(os.path.realpath(folder)) and os.path.isfile(path) else None
