"""The data of a memory report: bytes by residency for each model, and peaks."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryUse:
    """Bytes by where they are. `device`: GPU memory. `pinned`: page-locked RAM. `ram`: other RAM. `disk`: mapped from
    a file, in RAM only as long as the system has room."""

    device: int = 0
    pinned: int = 0
    ram: int = 0
    disk: int = 0

    def __add__(self, other: "MemoryUse") -> "MemoryUse":
        return MemoryUse(**{where: getattr(self, where) + getattr(other, where) for where in RESIDENCIES})

    @property
    def total(self) -> int:
        return sum(getattr(self, residency) for residency in RESIDENCIES)


# field of MemoryUse -> its name for a person
RESIDENCIES = {"device": "on the device", "pinned": "pinned RAM", "ram": "RAM", "disk": "in the file"}


@dataclass(frozen=True)
class Component:
    """One model. `held`: owner (a key of tensor_owners.OWNERS, or "weights on the move") -> its bytes. `size`: bytes
    of the weights as stored, each once. `bf16`: bytes that they would have in bfloat16. `elsewhere`: bytes of the
    weights that are shared with an earlier component and counted there. `streamed`: under dynamic VRAM."""

    name: str
    held: dict[str, MemoryUse]
    size: int
    bf16: int
    elsewhere: int = 0
    streamed: bool = False

    @property
    def everything(self) -> MemoryUse:
        return total(self.held.values())


@dataclass(frozen=True)
class DevicePeak:
    """Peak bytes of PyTorch's allocator on a device: given out to tensors, and reserved from the driver. `total`: of
    the device. `spare`: bytes of it that ComfyUI leaves to other programs."""

    device: str
    allocated: int
    reserved: int
    total: int
    spare: int


@dataclass(frozen=True)
class ProcessPeak:
    """Resident bytes of the process. `peak`: the most since `since` (in words). `own`, `files`: own memory and pages
    of mapped files that are resident now; None where the system does not tell them apart. `total`: of the machine."""

    peak: int
    since: str
    own: int | None
    files: int | None
    total: int


@dataclass(frozen=True)
class Peak:
    """Peaks of a run. `since`: when counting on the devices began, in words."""

    since: str
    devices: tuple[DevicePeak, ...]
    process: ProcessPeak


@dataclass(frozen=True)
class MemoryReport:
    components: tuple[Component, ...]
    peak: Peak

    @property
    def everything(self) -> MemoryUse:
        return total(component.everything for component in self.components)


def total(uses: Iterable[MemoryUse]) -> MemoryUse:
    return sum(uses, MemoryUse())
