"""Where streamed blocks are on the host: in a page-locked buffer each, or in their file until they are needed."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import comfy.model_management
import torch

from .slab import ParameterRef, nbytes, pack, views


class Slabs:
    """One buffer per block. The block's parameters become views of it, so that nothing is stored twice. pinned:
    page-lock the buffers as far as core allows."""

    def __init__(self, pinned: bool):
        self._pinned = pinned
        self._buffers: dict[str, torch.Tensor] = {}
        self._locked: list[torch.Tensor] = []

    def add(self, name: str, refs: list[ParameterRef]) -> None:
        buffer = torch.empty(nbytes(refs), dtype=torch.uint8)
        pack(refs, buffer)
        if self._pinned and comfy.model_management.pin_memory(buffer):
            self._locked.append(buffer)
        for ref, parameter in zip(refs, views(refs, buffer), strict=True):
            ref.put(parameter)
        self._buffers[name] = buffer

    def expect(self, name: str) -> None:
        """Nothing to do: the block is in RAM."""

    def take(self, name: str) -> torch.Tensor:
        """uint8, the packed parameters of a block."""
        return self._buffers[name]

    def release(self, name: str, copied: Callable[[], None]) -> None:
        """Nothing to do: the buffer is kept."""

    def forget(self) -> None:
        """Nothing to do: parameters are views, so the buffer has their present values."""

    def close(self) -> None:
        """Undo the page lock. The memory stays, parameters are views of it."""
        for buffer in self._locked:
            comfy.model_management.unpin_memory(buffer)
        self._locked.clear()


class FromFile:
    """Parameters stay mapped from a file; a thread reads the next blocks into `ahead` + 1 buffers."""

    def __init__(self, refs: dict[str, list[ParameterRef]], ahead: int, pinned: bool):
        self._refs = refs
        size = max(map(nbytes, refs.values()))
        self._free = [torch.empty(size, dtype=torch.uint8) for _ in range(ahead + 1)]
        self._locked = [buffer for buffer in self._free if pinned and comfy.model_management.pin_memory(buffer)]
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="x2v-read")
        self._read: dict[str, Future] = {}
        self._copied: dict[int, Callable[[], None]] = {}

    def expect(self, name: str) -> None:
        """Start reading a block that is needed soon, if a buffer is free."""
        if name not in self._read and self._free:
            self._read[name] = self._reader.submit(self._fill, name, self._free.pop(0))

    def take(self, name: str) -> torch.Tensor:
        """uint8, the packed parameters of a block; waits until they are read."""
        if name not in self._read and not self._free:
            # blocks run in another order than expected: drop one that was read ahead
            self._drop(next(iter(self._read)))
        self.expect(name)
        return self._read[name].result()

    def release(self, name: str, copied: Callable[[], None]) -> None:
        """Give the buffer of a block back; it is overwritten only after `copied()` has returned."""
        buffer = self._read.pop(name).result()
        self._copied[id(buffer)] = copied
        self._free.append(buffer)

    def forget(self) -> None:
        """Drop everything read ahead: the parameters may have changed since."""
        for name in list(self._read):
            self._drop(name)

    def close(self) -> None:
        """Stop the thread and undo the page locks."""
        self._reader.shutdown(wait=True, cancel_futures=True)
        for buffer in self._locked:
            comfy.model_management.unpin_memory(buffer)
        self._locked.clear()

    def _drop(self, name: str) -> None:
        self._free.append(self._read.pop(name).result())

    @torch.inference_mode()
    def _fill(self, name: str, buffer: torch.Tensor) -> torch.Tensor:
        copied = self._copied.pop(id(buffer), None)
        if copied is not None:
            copied()
        pack(self._refs[name], buffer)
        return buffer
