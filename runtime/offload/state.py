"""The offload state of a ModelPatcher: its settings and streamed blocks, as an attachment that clones keep."""

import functools

from .blocks import Block
from .settings import OffloadSettings
from .slab import nbytes, parameters_in

ATTACHMENT = "x2v_quant.runtime.offload"
# prefix of the blocks' names in a patcher's model
DIFFUSION_MODEL = "diffusion_model."


class OffloadState:
    """`blocks`: the blocks, or phases of blocks, that are streamed. `notes`: sentences on what could not be done."""

    def __init__(self, settings: OffloadSettings, blocks: list[Block], notes: list[str]):
        self.settings, self.blocks, self.notes = settings, blocks, notes

    def in_model(self) -> list[Block]:
        """The blocks under their names in the patcher's model."""
        return [Block(f"{DIFFUSION_MODEL}{block.name}", block.module) for block in self.blocks]

    @functools.cached_property
    def sizes(self) -> list[int]:
        """Bytes of each block."""
        return [nbytes(parameters_in(block.module, lambda parameter: True)) for block in self.blocks]


def offload_state(patcher) -> OffloadState | None:
    """The state attached to a patcher; None if offloading is left to ComfyUI."""
    return patcher.attachments.get(ATTACHMENT)


def settings_of(patcher) -> OffloadSettings:
    """The settings of a patcher with an offload state."""
    return patcher.attachments[ATTACHMENT].settings


def size_of_buffers(patcher) -> int:
    """Bytes of the device buffers that blocks stream through."""
    found = patcher.attachments[ATTACHMENT]
    return (found.settings.prefetch + 1) * max(found.sizes, default=0)
