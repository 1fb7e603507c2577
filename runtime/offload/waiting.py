"""Where the bytes of a streamed block wait: in one page-locked buffer, or in their file until they are wanted."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import comfy.model_management
import torch

from .slab import Place, nbytes, pack, views


class Slabs:
    """Every block in a buffer of its own, which its parameters are views of from then on, so that nothing is held
    twice. pinned: page-locked as far as core allows."""

    def __init__(self, pinned: bool):
        self._pinned = pinned
        self._buffers: dict[str, torch.Tensor] = {}
        self._locked: list[torch.Tensor] = []

    def add(self, name: str, places: list[Place]) -> None:
        buffer = torch.empty(nbytes(places), dtype=torch.uint8)
        pack(places, buffer)
        if self._pinned and comfy.model_management.pin_memory(buffer):
            self._locked.append(buffer)
        for place, parameter in zip(places, views(places, buffer), strict=True):
            place.put(parameter)
        self._buffers[name] = buffer

    def expect(self, name: str) -> None:
        """Nothing: it is there."""

    def take(self, name: str) -> torch.Tensor:
        """The bytes of a block to copy from."""
        return self._buffers[name]

    def release(self, name: str, copied: Callable[[], None]) -> None:
        """Nothing: it stays there."""

    def forget(self) -> None:
        """Nothing: parameters that change change it."""

    def close(self) -> None:
        """Buffers are RAM like any other, which parameters still lie in."""
        for buffer in self._locked:
            comfy.model_management.unpin_memory(buffer)
        self._locked.clear()


class FromFile:
    """Blocks stay where their parameters are, mapped from a file; a thread reads those that are expected into a few
    buffers."""

    def __init__(self, places: dict[str, list[Place]], ahead: int, pinned: bool):
        self._places = places
        size = max(map(nbytes, places.values()))
        self._free = [torch.empty(size, dtype=torch.uint8) for _ in range(ahead + 1)]
        self._locked = [buffer for buffer in self._free if pinned and comfy.model_management.pin_memory(buffer)]
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="x2v-read")
        self._read: dict[str, Future] = {}
        self._copied: dict[int, Callable[[], None]] = {}

    def expect(self, name: str) -> None:
        """A block comes soon: begin to read it if there is room."""
        if name not in self._read and self._free:
            self._read[name] = self._reader.submit(self._fill, name, self._free.pop(0))

    def take(self, name: str) -> torch.Tensor:
        """The bytes of a block to copy from, once they are read."""
        if name not in self._read and not self._free:
            # what was expected does not come: blocks run in another order
            self._drop(next(iter(self._read)))
        self.expect(name)
        return self._read[name].result()

    def release(self, name: str, copied: Callable[[], None]) -> None:
        """The bytes may be overwritten once `copied` returns."""
        buffer = self._read.pop(name).result()
        self._copied[id(buffer)] = copied
        self._free.append(buffer)

    def forget(self) -> None:
        """What was read may have changed since."""
        for name in list(self._read):
            self._drop(name)

    def close(self) -> None:
        """Give the buffers back."""
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
        pack(self._places[name], buffer)
        return buffer
