"""Model files and model folders as a user picks them: names inside core's model folders, never paths."""

import os
import re
from pathlib import Path

import folder_paths

# parts of a model that LightX2V or Hugging Face split over a folder; picked as the folder
PART = re.compile(r"^(block_\d+|non_block|.+-\d{5}-of-\d{5}|.+_part\d+)\.safetensors$")


def model_names(kind: str) -> list[str]:
    """Names in core's folder `kind` ("diffusion_models", ...): single files, and folders as "name/" in place of their
    parts."""
    names: dict[str, None] = {}
    for name in folder_paths.get_filename_list(kind):
        folder = os.path.dirname(name)
        names[f"{folder}/" if folder and PART.match(os.path.basename(name)) else name] = None
    return list(names)


def model_path(kind: str, name: str) -> str:
    """The full path of a name from `model_names`. Raises FileNotFoundError for any other name."""
    if name not in model_names(kind):
        raise FileNotFoundError(
            f"There is no model {name!r} in ComfyUI's {kind} folder. Refresh the node and pick one."
        )
    if not name.endswith("/"):
        return folder_paths.get_full_path_or_raise(kind, name)
    folders = (os.path.join(root, name.rstrip("/")) for root in folder_paths.get_folder_paths(kind))
    return next(folder for folder in folders if os.path.isdir(folder))


def fingerprint(kind: str, name: str) -> str:
    """Changes when the file, or a file of the folder, is replaced: core then runs the loader again."""
    path = Path(model_path(kind, name))
    files = sorted(path.glob("*")) if path.is_dir() else [path]
    return "|".join(f"{f.name}:{f.stat().st_size}:{f.stat().st_mtime_ns}" for f in files)


def tokenizer_names() -> list[str]:
    """Sentencepiece files (*.model) under core's text encoder folders, and text encoder files that may carry one."""
    found: dict[str, None] = {}
    for root in folder_paths.get_folder_paths("text_encoders"):
        for file in sorted(Path(root).rglob("*.model")):
            found[file.relative_to(root).as_posix()] = None
    carriers = [n for n in folder_paths.get_filename_list("text_encoders") if n.endswith(".safetensors")]
    return [*found, *carriers]


def tokenizer_path(name: str) -> str:
    """The full path of a name from `tokenizer_names`. Raises FileNotFoundError for any other name."""
    if name not in tokenizer_names():
        raise FileNotFoundError(
            f"There is no tokenizer {name!r} in ComfyUI's text_encoders folder. Refresh and pick one."
        )
    roots = folder_paths.get_folder_paths("text_encoders")
    return next(path for path in (os.path.join(root, name) for root in roots) if os.path.isfile(path))
