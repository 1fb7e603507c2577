"""A safetensors file whose tensors come in any order and in parts."""

import os
from pathlib import Path

import torch

from ..checkpoints.written_header import written_header
from .units import Spec


class TensorFile:
    """The file at `path`, as long as it will be from the start."""

    def __init__(self, path: Path, specs: dict[str, Spec], metadata: dict[str, str]):
        self.path = path
        self.header, ranges = written_header({name: (spec.dtype, spec.shape) for name, spec in specs.items()}, metadata)
        self.size = max([len(self.header), *(end for _, end in ranges.values())])
        self._places = {name: begin for name, (begin, _) in ranges.items()}
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
