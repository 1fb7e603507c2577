"""What is measured: bytes by place for each model, and peaks."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Held:
    """Bytes by place. `device`: in memory of a GPU; `pinned`: in RAM that is page-locked for it; `ram`: in other RAM;
    `disk`: mapped from a file, in RAM only as long as the system has room for it."""

    device: int = 0
    pinned: int = 0
    ram: int = 0
    disk: int = 0

    def __add__(self, other: "Held") -> "Held":
        return Held(**{place: getattr(self, place) + getattr(other, place) for place in PLACES})

    @property
    def total(self) -> int:
        return sum(getattr(self, place) for place in PLACES)


# field of Held -> its name for a person
PLACES = {"device": "on the device", "pinned": "pinned RAM", "ram": "RAM", "disk": "in the file"}


@dataclass(frozen=True)
class Component:
    """One model. `held`: what holds bytes (a key of holders.HOLDERS or "weights on the move") -> where they are. What
    several components hold is counted for the first one: `elsewhere` bytes of this one's weights are counted there.

    `size`: bytes of its weights as stored, each once; `bf16`: bytes that they would have in bfloat16.
    """

    name: str
    held: dict[str, Held]
    size: int
    bf16: int
    elsewhere: int = 0
    streamed: bool = False

    @property
    def everything(self) -> Held:
        return total(self.held.values())


@dataclass(frozen=True)
class DevicePeak:
    """The most bytes that PyTorch's allocator gave out on a device, and had taken from its driver, at a time."""

    device: str
    allocated: int
    reserved: int


@dataclass(frozen=True)
class ProcessPeak:
    """Resident bytes of the process. `peak`: the most since `since`; `own` and `files`: of what is resident now, its
    own memory and pages of mapped files; None where the system does not tell them apart."""

    peak: int
    since: str
    own: int | None
    files: int | None


@dataclass(frozen=True)
class Peak:
    """`since`: since when the devices' peaks are counted, in words."""

    since: str
    devices: tuple[DevicePeak, ...]
    process: ProcessPeak


@dataclass(frozen=True)
class MemoryReport:
    components: tuple[Component, ...]
    peak: Peak

    @property
    def everything(self) -> Held:
        return total(component.everything for component in self.components)


def total(parts: Iterable[Held]) -> Held:
    return sum(parts, Held())
