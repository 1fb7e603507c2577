"""The blocks of one model on their way through a few buffers on the device, one ahead of what computes."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from .blocks import Block
from .copy_stream import CudaLane, HostLane
from .slab import Place, addresses, nbytes, places_in, views
from .waiting import FromFile, Slabs


@dataclass
class Slot:
    """A buffer on the device. `name`: the block in it; `arrived`: what to wait for before it is computed with; `used`:
    what to wait for before it is overwritten."""

    buffer: torch.Tensor
    name: str | None = None
    arrived: object | None = None
    used: object | None = None
    parameters: dict[str, list[torch.nn.Parameter]] = field(default_factory=dict)


class Streamer:
    """Puts the parameters of a block on the device before it computes and takes them off behind it.

    blocks: those of the model in order; is_away: whether a parameter has to be brought; ahead: blocks that are brought
    before their turn; from_file: parameters stay mapped from their file. Not for two threads at a time.
    """

    def __init__(
        self,
        blocks: list[Block],
        lane: CudaLane | HostLane,
        is_away: Callable[[torch.nn.Parameter], bool],
        ahead: int = 1,
        pinned: bool = True,
        from_file: bool = False,
    ):
        self._blocks, self._lane, self._is_away = blocks, lane, is_away
        self._ahead, self._pinned, self._from_file = ahead, pinned, from_file
        self._places: dict[str, list[Place]] = {}
        self._addresses: list[list[int]] = []
        self._waiting: Slabs | FromFile | None = None
        self._slots: list[Slot] = []
        self._inside: tuple[Slot, list[Place], list[torch.nn.Parameter]] | None = None
        self._learnt: list[str] = []
        self._ran: list[str] = []

    @property
    def names(self) -> list[str]:
        """The blocks that are brought, in the order in which they ran last, or else in which they are declared."""
        return self._learnt or list(self._places)

    @property
    def device_bytes(self) -> int:
        """What the buffers on the device take now."""
        return sum(slot.buffer.nbytes for slot in self._slots)

    def begin(self) -> None:
        """Before each run over the blocks: core may have moved some since the last."""
        found = {block.name: places_in(block.module, self._is_away) for block in self._blocks}
        # core leaves what a block itself holds in RAM, however much there is room for
        places = {name: there for name, there in found.items() if any(_is_leaf(place.module) for place in there)}
        if places != self._places or self._addresses != _addresses(places):
            self.close()
            self._places = places
            self._learnt = []
            self._waiting = self._new_waiting() if places else None
            self._addresses = _addresses(places)
        self._ran = []

    def enter(self, name: str) -> None:
        """Block `name` is about to compute, what came before has been asked for."""
        self.leave()
        if name not in self._places:
            return
        self._ran.append(name)
        slot = self._slot_of(name) or self._bring(name, [])
        self._lane.wait(slot.arrived)
        places = self._places[name]
        self._inside = slot, places, [place.parameter for place in places]
        if name not in slot.parameters:
            slot.parameters[name] = views(places, slot.buffer)
        for place, parameter in zip(places, slot.parameters[name], strict=True):
            place.put(parameter)
        coming = self._coming(name)
        for following in coming:
            if self._slot_of(following) is None:
                self._bring(following, coming)
        for following in coming[-1:]:
            self._waiting.expect(self._coming(following)[0])

    def leave(self) -> None:
        """The block has been asked for: its parameters are where they were."""
        if self._inside is None:
            return
        slot, places, parameters = self._inside
        for place, parameter in zip(places, parameters, strict=True):
            place.put(parameter)
        slot.used = self._lane.mark()
        self._inside = None

    def end(self, complete: bool = True) -> None:
        """After a run over the blocks. complete: it did not break off, so the next one is expected to go the same
        way."""
        self.leave()
        if complete:
            self._learnt = list(dict.fromkeys(self._ran))

    def free_device(self) -> None:
        """Give the buffers on the device back; parameters may change until the next run."""
        self.leave()
        self._slots.clear()
        if self._waiting is not None:
            self._waiting.forget()

    def close(self) -> None:
        """Give everything back; parameters stay where they are."""
        self.free_device()
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None
        self._places = {}

    def _new_waiting(self) -> Slabs | FromFile:
        if self._from_file:
            return FromFile(self._places, self._ahead, self._pinned)
        slabs = Slabs(self._pinned)
        for name, places in self._places.items():
            slabs.add(name, places)
        return slabs

    def _slot_of(self, name: str) -> Slot | None:
        return next((slot for slot in self._slots if slot.name == name), None)

    def _coming(self, name: str) -> list[str]:
        """The blocks behind `name` that are to be brought ahead, over the end to the next run's first."""
        order = self._learnt if name in self._learnt else list(self._places)
        at, count = order.index(name), min(self._ahead, len(order) - 1)
        return [order[(at + step) % len(order)] for step in range(1, count + 1)]

    def _bring(self, name: str, wanted: list[str]) -> Slot:
        """Begin to copy a block into a slot that holds none of `wanted` and is not computed with."""
        if not self._slots:
            size = max(map(nbytes, self._places.values()))
            self._slots = [Slot(self._lane.allocate(size)) for _ in range(self._ahead + 1)]
        inside = self._inside[0] if self._inside else None
        slot = next(slot for slot in self._slots if slot is not inside and slot.name not in wanted)
        count = nbytes(self._places[name])
        source = self._waiting.take(name)
        slot.arrived = self._lane.copy(source[:count], slot.buffer[:count], slot.used)
        slot.name, arrived = name, slot.arrived
        self._waiting.release(name, lambda: self._lane.finish(arrived))
        return slot


def _addresses(places: dict[str, list[Place]]) -> list[list[int]]:
    return [addresses(there) for there in places.values()]


def _is_leaf(module: torch.nn.Module) -> bool:
    return next(module.children(), None) is None
