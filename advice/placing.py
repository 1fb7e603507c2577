"""Where a model's weights are while it runs, with so much VRAM and RAM: what fits."""

from dataclasses import dataclass

from ..runtime.offload.settings import AUTO, BLOCK, DISK

# bytes of RAM for the system, ComfyUI and a text encoder in 8 bits (estimated)
BESIDE = 10 * 10**9


@dataclass(frozen=True)
class Weight:
    """Bytes of a model: `total`; `loose`: outside the blocks, which stay on a GPU; `passing`: of two blocks, one that
    computes and one that is fetched."""

    total: int
    loose: int
    passing: int

    @property
    def least(self) -> int:
        """What has to be on the GPU at once."""
        return min(self.total, self.loose + self.passing)


@dataclass(frozen=True)
class Room:
    """Bytes. `vram`: None without a GPU, then weights are computed with in RAM. `dynamic`: ComfyUI moves weights to
    this GPU by itself."""

    vram: int | None
    ram: int
    dynamic: bool = True


@dataclass(frozen=True)
class Place:
    """`mode`: of Offload Control. `vram`, `ram`: bytes that are used, 0 of VRAM without a GPU; `least`: the fewest
    bytes of VRAM. `resident`: bytes of weights that stay where they are computed with; `streamed`: those that come from
    elsewhere in each call of the model. `lacks`: why it does not fit, "" if it does."""

    mode: str
    vram: int
    least: int
    ram: int
    resident: int
    streamed: int
    lacks: str = ""

    @property
    def fits(self) -> bool:
        return not self.lacks


def place(weight: Weight, beside: int, room: Room, experts: int = 1) -> Place:
    """weight: of one expert. beside: bytes of activations and of what is kept free."""
    if room.vram is None:
        return _in_ram(weight, beside, room.ram, experts)
    space = room.vram - beside
    if space < weight.least:
        least = beside + weight.least
        return Place(AUTO, least, least, BESIDE, weight.loose, weight.total - weight.loose, "VRAM")
    whole = space >= weight.total
    resident = weight.total if whole else space - weight.passing
    # what waits for its turn is in RAM, or stays in its file
    waiting = (experts - whole) * weight.total
    mode = AUTO if whole or room.dynamic else BLOCK
    if BESIDE + waiting > room.ram:
        mode, waiting = DISK, weight.passing
    lacks = "RAM" if BESIDE + waiting > room.ram else ""
    used = beside + min(space, weight.total)
    return Place(mode, used, beside + weight.least, BESIDE + waiting, resident, weight.total - resident, lacks)


def _in_ram(weight: Weight, beside: int, ram: int, experts: int) -> Place:
    """Without a GPU: what does not fit is read from its file again."""
    space = ram - BESIDE - beside
    if space < weight.least:
        return Place(AUTO, 0, 0, BESIDE + beside + weight.least, weight.loose, weight.total - weight.loose, "RAM")
    resident = min(weight.total, space)
    used = BESIDE + beside + min(experts * weight.total, space)
    return Place(AUTO, 0, 0, used, resident, weight.total - resident)
