"""PyTorch files (.pth, .pt) through weights_only: tensors and nothing that could run."""

import pickle
import re
import threading
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import torch

from ..common import limits
from ..common.sizes import amount
from .errors import CheckpointError, Problem
from .other_files import AGAIN, OtherFile, other_archive, other_file
from .tables import info_of, model_table
from .tensor_info import MARKER_SUFFIXES, START_BYTES, ZERO_POINTS, Contents

# classes that training code saves beside tensors and that are not needed: what a pickle makes of them does nothing
HARMLESS = (
    *(f"numpy{core}.multiarray.{name}" for core in (".core", "._core") for name in ("scalar", "_reconstruct")),
    *(f"numpy{core}.numeric._frombuffer" for core in (".core", "._core")),
    "numpy.dtype",
    "numpy.ndarray",
    "_codecs.encode",
    "argparse.Namespace",
    "types.SimpleNamespace",
    *(f"datetime.{name}" for name in ("date", "datetime", "timedelta")),
    *(f"builtins.{name}" for name in ("bool", "dict", "float", "frozenset", "int", "list", "range", "slice", "str")),
    "decimal.Decimal",
    "typing.Any",
    "uuid.UUID",
    *(f"omegaconf.{name}" for name in ("dictconfig.DictConfig", "listconfig.ListConfig", "nodes.AnyNode")),
    *(f"omegaconf.base.{name}" for name in ("ContainerMetadata", "Metadata")),
    *(f"pathlib{module}.{name}" for module in ("", "._local") for name in ("Path", "PosixPath", "WindowsPath")),
)
# tables of other kinds, which become plain ones
TABLES = (
    "collections.defaultdict",
    "easydict.EasyDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
)
# torch's word for a class that a pickle names and weights_only does not let it have
GLOBAL = re.compile(r"GLOBAL ([\w.]{1,100})")


LOCK = threading.Lock()
SAFE_TORCH = "2.6"


class Inert:
    """Stands for an object of a class in HARMLESS."""

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state: object) -> None:
        pass


class PlainTable:
    """Stands for an object of a class in TABLES; none is ever made, as torch fills no table but its own kinds."""

    def __new__(cls, *args, **kwargs):
        return OrderedDict()


def _stand_in(name: str, kind: type) -> type:
    module, _, own = name.rpartition(".")
    return type(own, (kind,), {"__module__": module, "__qualname__": own})


STAND_INS = [_stand_in(name, Inert) for name in HARMLESS] + [_stand_in(name, PlainTable) for name in TABLES]


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Key -> tensor of the one model in the file, memory-mapped where the file allows it; see tables.model_table.

    Raises CheckpointError if the file is damaged or holds anything but tensors and plain values.
    """
    return model_table(path, loaded(path))[0]


def read_tensor(path: Path, shape: tuple[int, ...], remedy: str) -> torch.Tensor:
    """Of a file that holds a tensor of this shape and nothing else. Raises CheckpointError, with `remedy` if it holds
    anything else."""
    tensor = loaded(path)
    if not isinstance(tensor, torch.Tensor) or tuple(tensor.shape) != shape:
        raise Problem(path.name, "", f"is not one tensor of shape {list(shape)}", remedy).error()
    return tensor


def read_infos(path: Path) -> Contents:
    """What the file holds. Weights stay on disk, except in files of before PyTorch 1.6, which only read as a whole."""
    data = loaded(path)
    table, notes, aloud = model_table(path, data)
    flat = isinstance(data, dict) and all(table.get(key) is value for key, value in data.items())
    contents = Contents(notes=notes, aloud=aloud, nested=set() if flat else {path})
    for key, tensor in table.items():
        contents.tensors[key] = info_of(tensor, path)
        if key.endswith(ZERO_POINTS) and tensor.dtype is torch.int32:
            first = tensor.flatten()[:START_BYTES].contiguous().view(torch.uint8)
            contents.tensors[key] = replace(contents.tensors[key], start=bytes(first[:START_BYTES].tolist()))
        if key.endswith(MARKER_SUFFIXES):
            small = tensor.nbytes <= limits.MARKER_BYTES
            contents.markers[key] = bytes(tensor.flatten().view(torch.uint8).tolist()) if small else b""
    _check_records(path, table)
    return contents


def loaded(path: Path) -> object:
    """All that the file holds. Raises CheckpointError for a damaged one, and for more than tensors and plain values."""
    archive = zipfile.is_zipfile(path)
    _check_torch(path)
    if archive:
        _check_sizes(path)
    try:
        with _only_harmless(), path.open("rb") as file:
            source = path if archive else Metered(file, path.name)
            return torch.load(source, map_location="cpu", weights_only=True, mmap=archive)
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:  # a foreign or damaged pickle makes torch raise nearly anything
        raise _unreadable(path, archive, error) from error


def _check_torch(path: Path) -> None:
    """What weights_only let through before 2.6: https://nvd.nist.gov/vuln/detail/CVE-2025-32434."""
    if torch.__version__ < SAFE_TORCH:
        cause = f"is a PyTorch file, and torch {torch.__version__} may run code that is hidden in one"
        remedy = f"Update torch to {SAFE_TORCH} or later, or get the model as .safetensors."
        raise Problem(path.name, "", cause, remedy).error()


def _check_sizes(path: Path) -> None:
    """Before anything is inflated: torch saves files that are as long as what is in them."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise _unreadable(path, True, error) from error
    other = other_archive([entry.filename for entry in entries])
    if other is not None:
        raise Problem(path.name, "", other.cause, other.remedy).error()
    whole, size = sum(entry.file_size for entry in entries), path.stat().st_size
    if whole > size:
        cause = f"is {amount(size)} large and says that it contains {amount(whole)}, which PyTorch writes of no model"
        raise Problem(path.name, "", cause, "Get the model as .safetensors.").error()
    pickled = sum(entry.file_size for entry in entries if entry.filename.endswith(".pkl"))
    if pickled > limits.PICKLE_BYTES:
        raise _too_many_names(path.name, pickled)


def _too_many_names(name: str, size: int) -> CheckpointError:
    cause = f"has {amount(size)} of names and other things beside its tensors, and a model has at most "
    return Problem(name, "", f"{cause}{amount(limits.PICKLE_BYTES)}", "Get the model as .safetensors.").error()


class Metered:
    """A file of before PyTorch 1.6, whose pickles stand before its tensors. They are read in pieces, which are counted;
    tensors are read into their place."""

    def __init__(self, file: BinaryIO, name: str):
        self._file, self._name, self._pickled = file, name, 0
        self.readinto, self.seek, self.tell = file.readinto, file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        return self._counted(self._file.read(size))

    def readline(self) -> bytes:
        return self._counted(self._file.readline())

    def _counted(self, data: bytes) -> bytes:
        self._pickled += len(data)
        if self._pickled > limits.PICKLE_BYTES:
            raise _too_many_names(self._name, self._pickled)
        return data


def _check_records(path: Path, table: dict[str, torch.Tensor]) -> None:
    """A record of the archive that is shorter than the tensor in it: mapped, the tensor goes on into the next one."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        left = Counter(entry.file_size for entry in archive.infolist())
    seen = set()
    for key, tensor in table.items():
        storage = tensor.untyped_storage()
        if tensor.is_meta or not storage.nbytes() or storage.data_ptr() in seen:
            continue
        seen.add(storage.data_ptr())
        if not left[storage.nbytes()]:
            raise Problem(path.name, key, "is cut off inside the file", "Download it again.").error()
        left[storage.nbytes()] -= 1


@contextmanager
def _only_harmless() -> Iterator[None]:
    """Let pickles name the classes in HARMLESS and, whatever others allowed in this process, none beside torch's."""
    with LOCK:
        allowed = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(STAND_INS)
        try:
            yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(allowed)


def _unreadable(path: Path, archive: bool, error: Exception) -> CheckpointError:
    refused = isinstance(error, pickle.UnpicklingError)
    if refused and (archive or "unsupported global" in str(error).lower()):
        named = GLOBAL.search(str(error))
        words = f" ({named[1]})" if named else ""
        cause = f"contains pickled Python objects{words}, which can run code and are not read"
        remedy = "Get the model as .safetensors, or have it saved again with its tensors alone."
        return Problem(path.name, "", cause, remedy).error()
    cause = "is damaged" if archive else "is cut off or is no PyTorch file"
    other = other_file(path) or OtherFile(cause, AGAIN)
    return Problem(path.name, "", other.cause, other.remedy).error()
