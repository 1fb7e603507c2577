"""The contents of a file or folder, and the default way to read its tensors."""

from pathlib import Path

import safetensors
import torch

from .. import limits
from .endings import SAFETENSORS
from .errors import Problem
from .folder import model_files
from .safetensors_header import read_header
from .tensor_info import Contents
from .torch_file import read_infos, read_tensors

# characters of a name that is too long
SHOWN = 40


def read_contents(path: Path) -> tuple[list[Path], Contents]:
    """The model's files and what they hold together. Raises CheckpointError where nothing sensible can be read."""
    try:
        return _read_contents(path)
    except OSError as error:
        cause = f"cannot be read: {error.strerror or error}"
        raise Problem(path.name, "", cause, "Check the file and its permissions.").error() from error


def _read_contents(path: Path) -> tuple[list[Path], Contents]:
    model = model_files(path)
    merged = Contents(notes=model.notes)
    for file in model.files:
        contents = read_header(file) if file.suffix.lower() in SAFETENSORS else read_infos(file)
        _check_keys(file, contents)
        for key in contents.tensors.keys() & merged.tensors.keys():
            cause = f"is also in {merged.tensors[key].file.name}"
            raise Problem(file.name, key, cause, "The folder mixes two models: keep one of them.").error()
        merged.tensors.update(contents.tensors)
        merged.metadata.update(contents.metadata)
        merged.markers.update(contents.markers)
        merged.notes += contents.notes
        merged.aloud += contents.aloud
        merged.nested |= contents.nested
    for key, name in model.index.items():
        if key not in merged.tensors:
            raise Problem(name, key, "is named by the index but is not there", f"Download {name} again.").error()
    if not merged.tensors:
        raise Problem(path.name, "", "holds no tensors", "Pick another file.").error()
    return model.files, merged


def _check_keys(file: Path, contents: Contents) -> None:
    longest = max(contents.tensors, key=len, default="")
    if len(longest) > limits.KEY_CHARS:
        cause = f"... is a name of {len(longest)} characters; that of a tensor has at most {limits.KEY_CHARS}"
        raise Problem(file.name, longest[:SHOWN], cause, "Get the model from its publisher.").error()


def read_file(path: Path) -> dict[str, torch.Tensor]:
    """Key -> tensor on the CPU, memory-mapped where the format allows it."""
    if path.suffix.lower() not in SAFETENSORS:
        return read_tensors(path)
    with safetensors.safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - a file is no mapping
