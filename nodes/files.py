"""Names of model files and folders for the nodes' lists: relative to core's model folders, never paths."""

import os
from pathlib import Path

import folder_paths

from ..checkpoints import part_names
from ..loading.tokenizer import SPIECE
from ..schemes import AUTO
from .missing import missing, same_name


def model_names(kind: str) -> list[str]:
    """Names in core's folder `kind` ("diffusion_models", ...): single files, and folders of shards as "name/"."""
    parts: dict[Path, set[str]] = {}
    names: dict[str, None] = {}
    for name in folder_paths.get_filename_list(kind):
        folder = os.path.dirname(name)
        path = folder_paths.get_full_path(kind, name) if folder else None
        if path is None:
            names[name] = None
            continue
        path = Path(path)
        if path.parent not in parts:
            parts[path.parent] = part_names(path.parent)
        names[f"{folder}/" if path.name in parts[path.parent] else name] = None
    return list(names)


def model_path(kind: str, name: str) -> str:
    """The full path of a name from `model_names`. Raises MissingFileError for any other name."""
    known = same_name(name, model_names(kind))
    if known is None:
        raise missing(name, kind)
    if not known.endswith("/"):
        return folder_paths.get_full_path_or_raise(kind, known)
    folders = (os.path.join(root, known.rstrip("/")) for root in folder_paths.get_folder_paths(kind))
    return next(folder for folder in folders if os.path.isdir(folder))


def fingerprint(kind: str, name: str) -> str:
    """A text that changes when the file, or a file in the folder, is replaced, so that core runs the loader again."""
    path = Path(model_path(kind, name))
    files = sorted(path.glob("*")) if path.is_dir() else [path]
    return "|".join(f"{f.name}:{f.stat().st_size}:{f.stat().st_mtime_ns}" for f in files)


def tokenizer_names() -> list[str]:
    """Names in core's text encoder folders: sentencepiece files (*.model), folders with a spiece.model as "name/", and
    text encoder files, which may contain one."""
    found: dict[str, None] = {}
    for root in map(Path, folder_paths.get_folder_paths("text_encoders")):
        for file in sorted(root.rglob("*.model")):
            found[file.relative_to(root).as_posix()] = None
            if file.name == SPIECE and file.parent != root:
                found[f"{file.parent.relative_to(root).as_posix()}/"] = None
    carriers = [n for n in folder_paths.get_filename_list("text_encoders") if n.endswith(".safetensors")]
    return [*found, *carriers]


def tokenizer_path(name: str) -> str | None:
    """The full path of a name from `tokenizer_names`; None for AUTO. Raises MissingFileError for any other name."""
    if name == AUTO:
        return None
    known = same_name(name, tokenizer_names())
    if known is None:
        raise missing(name, "text_encoders")
    roots = folder_paths.get_folder_paths("text_encoders")
    # core lists broken links too; the loader refuses them
    return next(path for path in (os.path.join(root, known) for root in roots) if os.path.lexists(path))
