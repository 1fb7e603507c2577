"""A safetensors file whose tensors come in any order and in parts."""

import json
import os
from pathlib import Path

import torch

from ..checkpoints.safetensors_header import DTYPES, LENGTH_BYTES
from .units import Spec

WORDS = {name: word for word, (name, _) in DTYPES.items()}
ALIGNMENT = 8


class TensorFile:
    """The file at `path`, as long as it will be from the start. Wide types come first, so that every tensor begins at a
    multiple of its size, which is where readers look for it."""

    def __init__(self, path: Path, specs: dict[str, Spec], metadata: dict[str, str]):
        self.path = path
        order = sorted(specs, key=lambda name: -specs[name].dtype.itemsize)
        entries: dict[str, object] = {"__metadata__": metadata} if metadata else {}
        places, end = {}, 0
        for name in order:
            spec = specs[name]
            places[name], begin, end = end, end, end + spec.nbytes
            word = WORDS[str(spec.dtype).removeprefix("torch.")]
            entries[name] = {"dtype": word, "shape": list(spec.shape), "data_offsets": [begin, end]}
        header = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
        header += b" " * (-len(header) % ALIGNMENT)
        self.header = len(header).to_bytes(LENGTH_BYTES, "little") + header
        self.size = len(self.header) + end
        self._places = {name: len(self.header) + place for name, place in places.items()}
        self._file = None

    def open(self, fresh: bool) -> None:
        """Create the file, or open the one that is there. Raises OSError."""
        self._file = self.path.open("wb" if fresh else "r+b", buffering=0)
        if fresh:
            self._file.truncate(self.size)
            self._write(0, self.header)

    def matches(self) -> bool:
        """Whether the file at `path` was begun for the same tensors."""
        if not self.path.is_file() or self.path.stat().st_size != self.size:
            return False
        with self.path.open("rb") as file:
            return file.read(len(self.header)) == self.header

    def append(self, name: str, values: torch.Tensor) -> None:
        """The next of the tensor's values, in row-major order."""
        data = values.contiguous().flatten().view(torch.uint8).numpy()
        self._write(self._places[name], data)
        self._places[name] += data.nbytes

    def close(self, sync: bool) -> None:
        """sync: only return once the disk has it all."""
        if self._file is not None:
            if sync:
                os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def _write(self, place: int, data) -> None:
        self._file.seek(place)
        view = memoryview(data)
        while view.nbytes:
            view = view[self._file.write(view) :]
