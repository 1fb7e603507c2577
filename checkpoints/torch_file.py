"""PyTorch files (.pth, .pt) through weights_only: tensors and nothing that could run."""

import pickle
import zipfile
from pathlib import Path

import torch

from .. import limits
from .errors import CheckpointError, Problem
from .tensor_info import MARKER_SUFFIX, Contents, TensorInfo


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Key -> tensor, memory-mapped where the file allows it, out of {"state_dict": ...} or a dict in a dict.

    Raises CheckpointError if the file is damaged or holds anything but tensors and plain values.
    """
    return {key: value for key, value in _unwrapped(path, _loaded(path)).items() if isinstance(value, torch.Tensor)}


def read_tensor(path: Path, shape: tuple[int, ...], remedy: str) -> torch.Tensor:
    """Of a file that holds a tensor of this shape and nothing else. Raises CheckpointError, with `remedy` if it holds
    anything else."""
    tensor = _loaded(path)
    if not isinstance(tensor, torch.Tensor) or tuple(tensor.shape) != shape:
        raise Problem(path.name, "", f"is not one tensor of shape {list(shape)}", remedy).error()
    return tensor


def read_infos(path: Path) -> Contents:
    """What the file holds. Weights stay on disk, except in files of before PyTorch 1.6, which only read as a whole."""
    contents = Contents()
    for key, tensor in read_tensors(path).items():
        if not _whole(tensor):
            cause = "is sparse, or has no data of its own for every value"
            raise Problem(path.name, key, cause, "Get the model as .safetensors.").error()
        dtype = str(tensor.dtype).removeprefix("torch.")
        contents.tensors[key] = TensorInfo(tuple(tensor.shape), dtype, tensor.nbytes, path)
        if key.endswith(MARKER_SUFFIX):
            small = tensor.dtype == torch.uint8 and tensor.nbytes <= limits.MARKER_BYTES
            contents.markers[key] = bytes(tensor.flatten().tolist()) if small else b""
    return contents


def _loaded(path: Path) -> object:
    archive = zipfile.is_zipfile(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except Exception as error:  # a foreign or damaged pickle makes torch raise nearly anything
        raise _unreadable(path, archive, error) from error


def _whole(tensor: torch.Tensor) -> bool:
    """Whether its data is in the file: not so for one expanded from few values, which may be any size."""
    ordinary = tensor.layout is torch.strided and tensor.device.type == "cpu"
    return ordinary and tensor.nbytes <= tensor.untyped_storage().nbytes()


def _unwrapped(path: Path, data: object) -> dict:
    if isinstance(data, dict) and isinstance(data.get("state_dict"), dict):
        data = data["state_dict"]
    elif isinstance(data, dict) and len(data) == 1 and isinstance(next(iter(data.values())), dict):
        data = next(iter(data.values()))
    if not isinstance(data, dict) or not all(isinstance(key, str) and key.isprintable() for key in data):
        raise Problem(path.name, "", "holds no table of named tensors", "Pick the file of a model.").error()
    return data


def _unreadable(path: Path, archive: bool, error: Exception) -> CheckpointError:
    refused = isinstance(error, pickle.UnpicklingError)
    if refused and (archive or "unsupported global" in str(error).lower()):
        cause = "holds pickled Python objects, which can run code and are not read"
        return Problem(path.name, "", cause, "Get the model as .safetensors.").error()
    cause = "is damaged" if archive else "is cut off or is no PyTorch file"
    return Problem(path.name, "", cause, "Download it again.").error()
