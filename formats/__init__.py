"""How one weight is stored: a comfy_kitchen layout per format, and the table that names them.

A new format is one file here and one row in FORMATS.
"""

from dataclasses import dataclass

import torch

from .channel import ChannelLayout
from .fp8_channel import Fp8ChannelLayout
from .int8_channel import Int8ChannelLayout


@dataclass(frozen=True)
class Format:
    """One row: `layout` is registered in comfy_kitchen under `layout_name`; `marker` is the format name in a saved
    layer's `comfy_quant` (the name core knows where core reads the same bytes, else ours, which core refuses)."""

    name: str
    layout: type[ChannelLayout]
    codes: torch.dtype
    activation: str
    marker: str

    @property
    def layout_name(self) -> str:
        return self.layout.NAME


FORMATS = {
    row.name: row
    for row in (
        Format("fp8-channel", Fp8ChannelLayout, torch.float8_e4m3fn, activation="fp8", marker="fp8-channel"),
        Format("int8-channel", Int8ChannelLayout, torch.int8, activation="int8", marker="int8_tensorwise"),
    )
}

FORMAT_OF_LAYOUT = {row.layout_name: row for row in FORMATS.values()}
