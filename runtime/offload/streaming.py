"""Streams the blocks of one model through a few buffers on the device, ahead of the computation."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from .blocks import Block
from .copy_stream import CudaCopyStream, HostCopyStream
from .host_memory import FromFile, Slabs
from .slab import ParameterRef, addresses, nbytes, parameters_in, views


@dataclass
class Slot:
    """A buffer on the device. `name`: the block in it. `arrived`: event to wait for before computing with the block.
    `used`: event to wait for before overwriting it. `parameters`: block -> its parameters over this buffer."""

    buffer: torch.Tensor
    name: str | None = None
    arrived: object | None = None
    used: object | None = None
    parameters: dict[str, list[torch.nn.Parameter]] = field(default_factory=dict)


class Streamer:
    """Puts the parameters of each block on the device before it computes, and the originals back afterwards.

    blocks: all blocks of the model in order. is_away: whether a parameter has to be copied. ahead: number of blocks
    copied in advance. pinned: page-lock the host buffers. from_file: parameters stay mapped from their file. Not
    thread-safe.
    """

    def __init__(
        self,
        blocks: list[Block],
        stream: CudaCopyStream | HostCopyStream,
        is_away: Callable[[torch.nn.Parameter], bool],
        ahead: int = 1,
        pinned: bool = True,
        from_file: bool = False,
    ):
        self._blocks, self._stream, self._is_away = blocks, stream, is_away
        self._ahead, self._pinned, self._from_file = ahead, pinned, from_file
        self._refs: dict[str, list[ParameterRef]] = {}
        self._addresses: list[list[int]] = []
        self._waiting: Slabs | FromFile | None = None
        self._slots: list[Slot] = []
        self._inside: tuple[Slot, list[ParameterRef], list[torch.nn.Parameter]] | None = None
        self._learnt: list[str] = []
        self._ran: list[str] = []

    @property
    def names(self) -> list[str]:
        """The streamed blocks in the order of the last complete run, before that in declaration order."""
        return self._learnt or list(self._refs)

    @property
    def device_bytes(self) -> int:
        """Bytes that the buffers on the device take now."""
        return sum(slot.buffer.nbytes for slot in self._slots)

    def begin(self) -> None:
        """Call before each run over the blocks: finds out what core has moved since the last one."""
        found = {block.name: parameters_in(block.module, self._is_away) for block in self._blocks}
        # a block of which core left only its own (non-leaf) parameters in RAM is not streamed
        refs = {name: there for name, there in found.items() if any(_is_leaf(ref.module) for ref in there)}
        if refs != self._refs or self._addresses != _addresses(refs):
            self.close()
            self._refs = refs
            self._learnt = []
            self._waiting = self._new_waiting() if refs else None
            self._addresses = _addresses(refs)
        self._ran = []

    def enter(self, name: str) -> None:
        """Call before block `name` computes: its parameters are on the device afterwards, the next ones under way."""
        self.leave()
        if name not in self._refs:
            return
        self._ran.append(name)
        slot = self._slot_of(name) or self._fetch(name, [])
        self._stream.wait(slot.arrived)
        refs = self._refs[name]
        self._inside = slot, refs, [ref.parameter for ref in refs]
        if name not in slot.parameters:
            slot.parameters[name] = views(refs, slot.buffer)
        for ref, parameter in zip(refs, slot.parameters[name], strict=True):
            ref.put(parameter)
        coming = self._coming(name)
        for following in coming:
            if self._slot_of(following) is None:
                self._fetch(following, coming)
        for following in coming[-1:]:
            self._waiting.expect(self._coming(following)[0])

    def leave(self) -> None:
        """Call once the current block is launched: puts its original parameters back."""
        if self._inside is None:
            return
        slot, refs, parameters = self._inside
        for ref, parameter in zip(refs, parameters, strict=True):
            ref.put(parameter)
        slot.used = self._stream.mark()
        self._inside = None

    def end(self, complete: bool = True) -> None:
        """Call after a run over the blocks. complete: no error broke it off, so its order predicts the next run's."""
        self.leave()
        if complete:
            self._learnt = list(dict.fromkeys(self._ran))

    def free_device(self) -> None:
        """Free the buffers on the device. Parameters may change until the next run."""
        self.leave()
        self._slots.clear()
        if self._waiting is not None:
            self._waiting.forget()

    def close(self) -> None:
        """Free the buffers on the device and the host; parameters stay where they are."""
        self.free_device()
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None
        self._refs = {}

    def _new_waiting(self) -> Slabs | FromFile:
        if self._from_file:
            return FromFile(self._refs, self._ahead, self._pinned)
        slabs = Slabs(self._pinned)
        for name, refs in self._refs.items():
            slabs.add(name, refs)
        return slabs

    def _slot_of(self, name: str) -> Slot | None:
        return next((slot for slot in self._slots if slot.name == name), None)

    def _coming(self, name: str) -> list[str]:
        """The next blocks to copy after `name`, wrapping around to the first ones of the next run."""
        order = self._learnt if name in self._learnt else list(self._refs)
        at, count = order.index(name), min(self._ahead, len(order) - 1)
        return [order[(at + step) % len(order)] for step in range(1, count + 1)]

    def _fetch(self, name: str, wanted: list[str]) -> Slot:
        """Start copying a block into a slot that holds no block of `wanted` and is not in use."""
        if not self._slots:
            size = max(map(nbytes, self._refs.values()))
            self._slots = [Slot(self._stream.allocate(size)) for _ in range(self._ahead + 1)]
        inside = self._inside[0] if self._inside else None
        slot = next(slot for slot in self._slots if slot is not inside and slot.name not in wanted)
        count = nbytes(self._refs[name])
        source = self._waiting.take(name)
        slot.arrived = self._stream.copy(source[:count], slot.buffer[:count], slot.used)
        slot.name, arrived = name, slot.arrived
        self._waiting.release(name, lambda: self._stream.finish(arrived))
        return slot


def _addresses(refs: dict[str, list[ParameterRef]]) -> list[list[int]]:
    return [addresses(there) for there in refs.values()]


def _is_leaf(module: torch.nn.Module) -> bool:
    return next(module.children(), None) is None
