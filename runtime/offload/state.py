"""What an offload control leaves on a patcher, and clones of it keep."""

import functools

from .blocks import Block
from .settings import OffloadSettings
from .slab import nbytes, places_in

ATTACHMENT = "x2v_quant.runtime.offload"
# what stands before the names of the blocks in a patcher's model
DIFFUSION_MODEL = "diffusion_model."


class Steered:
    """`parts`: the blocks, or phases of them, that come and go; `notes`: what could not be done, in words."""

    def __init__(self, settings: OffloadSettings, parts: list[Block], notes: list[str]):
        self.settings, self.parts, self.notes = settings, parts, notes

    def in_model(self) -> list[Block]:
        """The parts under the names that the patcher's model has for them."""
        return [Block(f"{DIFFUSION_MODEL}{part.name}", part.module) for part in self.parts]

    @functools.cached_property
    def sizes(self) -> list[int]:
        """Bytes of each part."""
        return [nbytes(places_in(part.module, lambda parameter: True)) for part in self.parts]


def steered(patcher) -> Steered | None:
    """None for a patcher that is left to ComfyUI."""
    return patcher.attachments.get(ATTACHMENT)


def settings_of(patcher) -> OffloadSettings:
    """Those of a steered patcher."""
    return patcher.attachments[ATTACHMENT].settings


def size_of_buffers(patcher) -> int:
    """Bytes of device memory that parts stream through."""
    found = patcher.attachments[ATTACHMENT]
    return (found.settings.prefetch + 1) * max(found.sizes, default=0)
