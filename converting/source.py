"""The tensors of a checkpoint read a few rows at a time, past any memory map: what has been read does not stay."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import torch

from ..checkpoints import Checkpoint, TensorInfo
from ..checkpoints.torch_file import read_tensors

# bytes of one piece of a tensor that is copied as it is
PIECE = 1 << 24


class Source:
    """Open files of one checkpoint, for any number of threads; a context manager. Tensors of a PyTorch file stay
    mapped."""

    def __init__(self, checkpoint: Checkpoint):
        self.checkpoint = checkpoint
        self._files: dict[Path, object] = {}
        self._mapped: dict[Path, dict[str, torch.Tensor]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._mapped.clear()

    def info(self, key: str) -> TensorInfo:
        return self.checkpoint.tensors[key]

    def read(self, key: str, start: int = 0, stop: int | None = None) -> torch.Tensor:
        """Rows start to stop of a tensor (all of one without rows), in the file's dtype."""
        info = self.info(key)
        if info.offset is None:
            return self._tensor(key)[start:stop] if info.shape else self._tensor(key)
        if not info.shape:
            return self._bytes(info, 0, info.nbytes).view(dtype(info)).reshape(())
        rows = info.shape[0]
        stop = rows if stop is None else stop
        row = info.nbytes // max(rows, 1)
        return (
            self._bytes(info, start * row, (stop - start) * row)
            .view(dtype(info))
            .reshape(stop - start, *info.shape[1:])
        )

    def pieces(self, key: str) -> Iterator[torch.Tensor]:
        """The bytes of a tensor in order, uint8, at most PIECE of them at a time."""
        info = self.info(key)
        if info.offset is None:
            whole = self._tensor(key).contiguous().flatten().view(torch.uint8)
            yield from whole.split(PIECE)
        else:
            for start in range(0, info.nbytes, PIECE):
                yield self._bytes(info, start, min(PIECE, info.nbytes - start))

    def _tensor(self, key: str) -> torch.Tensor:
        if key in self.checkpoint.added:
            return self.checkpoint.added[key]
        path = self.info(key).file
        with self._lock:
            if path not in self._mapped:
                self._mapped[path] = read_tensors(path)
        return self._mapped[path][self.checkpoint.keys[key]]

    def _bytes(self, info: TensorInfo, start: int, count: int) -> torch.Tensor:
        data = torch.empty(count, dtype=torch.uint8)
        view = memoryview(data.numpy())
        with self._lock:
            if info.file not in self._files:
                self._files[info.file] = info.file.open("rb", buffering=0)
            file = self._files[info.file]
            file.seek(info.offset + start)
            done = 0
            while done < count:
                done += file.readinto(view[done:])
        return data


def dtype(info: TensorInfo) -> torch.dtype:
    """torch's type of a tensor; raises AttributeError for one that torch does not have."""
    return getattr(torch, info.dtype)
