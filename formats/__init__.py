"""How one weight is stored: a comfy_kitchen layout per format, and the table that names them.

A new format is one file here and one row in FORMATS; convert.py if it repacks another one.
"""

from comfy_kitchen.tensor import QuantizedTensor

from ..core.features import rotates_int8
from . import int8_convrot
from .format import Format
from .fp8_block128 import Fp8Block128Layout
from .fp8_channel import Fp8ChannelLayout
from .fp8_reduced import Fp8ReducedLayout
from .fp8_tensor import Fp8TensorLayout, core_reads
from .int4_group128 import Int4Group128Layout
from .int4_marlin import Int4MarlinLayout
from .int8_channel import Int8ChannelLayout
from .smooth import Fp8ChannelSmoothLayout, Fp8ReducedSmoothLayout, Int8ChannelSmoothLayout

SCALED = ("codes", "scale")
SMOOTH = (*SCALED, "pre_quant_scale")


def _rotated(group: int) -> Format:
    name, rotation = int8_convrot.name_of(group), {"convrot": True, "convrot_groupsize": group}
    return Format(
        name,
        int8_convrot.LAYOUT,
        SCALED,
        name,
        "int8_tensorwise",
        int8_convrot.NAME,
        settings=rotation,
        options={"per_channel": True},
    )


FORMATS = {
    row.name: row
    for row in (
        Format("fp8-channel", Fp8ChannelLayout.NAME, SCALED, "fp8", "fp8-channel", "fp8-channel"),
        Format("int8-channel", Int8ChannelLayout.NAME, SCALED, "int8", "int8_tensorwise", "int8-channel"),
        Format("fp8-reduced", Fp8ReducedLayout.NAME, SCALED, "fp8-reduced", "fp8-channel", "fp8-channel"),
        Format("fp8-block128", Fp8Block128Layout.NAME, SCALED, "fp8-group128", "fp8-block128", "fp8-block128"),
        Format(
            "fp8-tensor",
            Fp8TensorLayout.NAME,
            (*SCALED, "input_scale"),
            "fp8-static",
            "float8_e4m3fn",
            "fp8-tensor",
            core_reads,
        ),
        Format("int4-g128", Int4Group128Layout.NAME, SCALED, "float", "int4-g128", "int4-g128"),
        Format("int4-g128-marlin", Int4MarlinLayout.NAME, SCALED, "float", "int4-g128-marlin", "int4-g128"),
        # core's own layouts, so that core reads, patches and saves them: comfy.quant_ops registers its classes under
        # the names that comfy_kitchen gave to its own
        Format("mxfp8", "TensorCoreMXFP8Layout", SCALED, "mxfp8", "mxfp8", "mxfp8"),
        Format("nvfp4", "TensorCoreNVFP4Layout", (*SCALED, "block_scale"), "nvfp4", "nvfp4", "nvfp4"),
        *(map(_rotated, int8_convrot.GROUPS) if rotates_int8() else ()),
        # marked with names of ours: core would read such an int8 layer without its pre_quant_scale
        Format(
            "fp8-channel-smooth",
            Fp8ChannelSmoothLayout.NAME,
            SMOOTH,
            "fp8-smooth",
            "fp8-channel-smooth",
            "fp8-channel",
        ),
        Format(
            "int8-channel-smooth",
            Int8ChannelSmoothLayout.NAME,
            SMOOTH,
            "int8-smooth",
            "int8-channel-smooth",
            "int8-channel",
        ),
        Format(
            "fp8-reduced-smooth",
            Fp8ReducedSmoothLayout.NAME,
            SMOOTH,
            "fp8-reduced-smooth",
            "fp8-channel-smooth",
            "fp8-channel",
        ),
    )
}

# format -> the same one with a pre_quant_scale
SMOOTHED = {
    "fp8-channel": "fp8-channel-smooth",
    "int8-channel": "int8-channel-smooth",
    "fp8-reduced": "fp8-reduced-smooth",
}


# the formats of rotated weights, by the size of their groups
ROTATED = {row.settings["convrot_groupsize"]: row.name for row in FORMATS.values() if row.family == int8_convrot.NAME}


def format_of(weight: QuantizedTensor) -> Format | None:
    """The row that a quantized weight is of, None if core alone knows it."""
    return next((row for row in FORMATS.values() if row.holds(weight)), None)


def family(format_name: str) -> str:
    """What stands for every format that is served by the same schemes; a name that is not in FORMATS is its own
    family."""
    return FORMATS[format_name].family if format_name in FORMATS else format_name


def original(format_name: str) -> str:
    """The format that `format_name` repacks or smooths, or itself."""
    row = FORMATS[format_name]
    return next(r.name for r in FORMATS.values() if (r.family, r.settings) == (row.family, row.settings))


def repackings(format_name: str) -> list[str]:
    """The format itself, then those that hold the same numbers in another order or range: the others of its family that
    are smoothed and set alike. A name that is not in FORMATS is alone."""
    if format_name not in FORMATS:
        return [format_name]
    others = [name for name in FORMATS if name != format_name and _same_numbers(name, format_name)]
    return [format_name, *others]


def _same_numbers(name: str, other: str) -> bool:
    of_one, of_other = ((row.family, row.smooth, row.settings) for row in (FORMATS[name], FORMATS[other]))
    return of_one == of_other


def fitting(format_name: str, shape: tuple[int, int]) -> str:
    """The format of that family for a weight of `shape` (N, K): of rotated ones the group that divides K, for others
    itself."""
    if format_name != int8_convrot.NAME:
        return format_name
    return int8_convrot.name_of(int8_convrot.widest_group(shape[1]))


def like(held: str, wanted: str) -> str:
    """The format to convert a weight held as `held` to, if `wanted` is asked for: `wanted` with the smoothing that
    `held` has, where it can have one."""
    return SMOOTHED.get(wanted, wanted) if held in FORMATS and FORMATS[held].smooth else wanted
