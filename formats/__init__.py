"""How one weight is stored: a comfy_kitchen layout per format, and the table that names them.

A new format is one file here and one row in FORMATS; convert.py if it repacks another one.
"""

from .format import Format
from .fp8_channel import Fp8ChannelLayout
from .int8_channel import Int8ChannelLayout

SCALED = ("codes", "scale")

FORMATS = {
    row.name: row
    for row in (
        Format("fp8-channel", Fp8ChannelLayout.NAME, SCALED, "fp8", "fp8-channel", "fp8-channel"),
        Format("int8-channel", Int8ChannelLayout.NAME, SCALED, "int8", "int8_tensorwise", "int8-channel"),
    )
}

FORMAT_OF_LAYOUT = {row.layout_name: row for row in FORMATS.values()}


def family(format_name: str) -> str:
    """The format that `format_name` repacks, or itself; a name that is not in FORMATS is its own family."""
    return FORMATS[format_name].family if format_name in FORMATS else format_name
