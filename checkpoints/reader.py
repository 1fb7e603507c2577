"""The contents of a file or folder, and the default way to read its tensors."""

import mmap
import warnings
from pathlib import Path

import safetensors
import torch

from ..common import limits
from .endings import SAFETENSORS, UNNAMED
from .errors import Problem
from .folder import ModelFiles, model_files
from .safetensors_header import DTYPES, check_count, read_header
from .tensor_info import Contents, TensorInfo
from .torch_file import read_infos, read_tensors

# types of which torch has every value at a byte of its own
WHOLE_BYTES = {name for name, bits in DTYPES.values() if bits >= 8}
# characters of a name that is too long
SHOWN = 40


def read_contents(path: Path, unnamed: bool = False) -> tuple[list[Path], Contents]:
    """The model's files and what they hold together; unnamed: `path` is a file that has no name yet. Raises
    CheckpointError where nothing sensible can be read."""
    try:
        return _read_contents(ModelFiles([path]) if unnamed else model_files(path), path.name)
    except OSError as error:
        cause = f"cannot be read: {error.strerror or error}"
        raise Problem(path.name, "", cause, "Check the file and its permissions.").error() from error


def _read_contents(model: ModelFiles, name: str) -> tuple[list[Path], Contents]:
    merged = Contents(notes=model.notes)
    for file in model.files:
        contents = read_header(file) if _is_safetensors(file) else read_infos(file)
        _check_keys(file, contents)
        for key in contents.tensors.keys() & merged.tensors.keys():
            cause = f"is also in {merged.tensors[key].file.name}"
            raise Problem(file.name, key, cause, "The folder mixes two models: keep one of them.").error()
        merged.tensors.update(contents.tensors)
        check_count(name, len(merged.tensors))
        merged.metadata.update(contents.metadata)
        merged.markers.update(contents.markers)
        merged.notes += contents.notes
        merged.aloud += contents.aloud
        merged.nested |= contents.nested
    for key, shard in model.index.items():
        if key not in merged.tensors:
            raise Problem(shard, key, "is named by the index but is not there", f"Download {shard} again.").error()
    if not merged.tensors:
        raise Problem(name, "", "has no tensors", "Pick another file.").error()
    return model.files, merged


def _check_keys(file: Path, contents: Contents) -> None:
    longest = max(contents.tensors, key=len, default="")
    if len(longest) > limits.KEY_CHARS:
        cause = f"... is a name of {len(longest)} characters; that of a tensor has at most {limits.KEY_CHARS}"
        raise Problem(file.name, longest[:SHOWN], cause, "Get the model from its publisher.").error()


def read_file(path: Path) -> dict[str, torch.Tensor]:
    """Key -> tensor on the CPU, memory-mapped where the format allows it."""
    if not _is_safetensors(path):
        return read_tensors(path)
    with safetensors.safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - a file is no mapping


def map_file(path: Path) -> dict[str, torch.Tensor]:
    """As `read_file`, for tensors that are only read: a file that is larger than RAM can be mapped so on every system.
    Linux counts a map that may be written, as the safetensors library makes it, as if all of it were used."""
    infos = read_header(path).tensors if _is_safetensors(path) else {}
    if not infos or any(info.dtype not in WHOLE_BYTES for info in infos.values()):
        return read_file(path)
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of a buffer that is not writable
        data = torch.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), dtype=torch.uint8)
    return {key: _of_bytes(data[info.offset : info.offset + info.nbytes], info) for key, info in infos.items()}


def _of_bytes(values: torch.Tensor, info: TensorInfo) -> torch.Tensor:
    dtype = getattr(torch, info.dtype)
    if values.storage_offset() % dtype.itemsize:
        values = values.clone()
    return values.view(dtype).reshape(info.shape)


def _is_safetensors(path: Path) -> bool:
    return path.suffix.lower() in SAFETENSORS + UNNAMED
