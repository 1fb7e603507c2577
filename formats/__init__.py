"""How one weight is stored: a comfy_kitchen layout per format, and the table that names them.

A new format is a layout and a row in one of the files here; a new file is named in FORMATS. One that repacks another
is converted in convert.py.
"""

from comfy_kitchen.tensor import QuantizedTensor

from . import (
    awq_w4a16,
    block_scaled,
    channel,
    convrot_w4a4,
    fp8_block128,
    fp8_reduced,
    fp8_tensor,
    int4_convrot,
    int4_group128,
    int4_marlin,
    int8_convrot,
    mx,
    smooth,
    w4a8,
)
from .format import Format

FORMATS = {
    row.name: row
    for row in (
        *channel.FORMATS,
        *fp8_reduced.FORMATS,
        *fp8_block128.FORMATS,
        *fp8_tensor.FORMATS,
        *int4_group128.FORMATS,
        *int4_marlin.FORMATS,
        *awq_w4a16.FORMATS,
        *int4_convrot.FORMATS,
        *block_scaled.FORMATS,
        *mx.FORMATS,
        *int8_convrot.FORMATS,
        *w4a8.FORMATS,
        *convrot_w4a4.FORMATS,
        *smooth.FORMATS,
    )
}

# format -> the same one with a pre_quant_scale
SMOOTHED = {name.removesuffix(smooth.END): name for name, row in FORMATS.items() if row.smooth}
UNSMOOTHED = {smoothed: plain for plain, smoothed in SMOOTHED.items()}
# those of SMOOTHED whose activations are quantized, which is what SmoothQuant's factors are for
SMOOTHQUANT = tuple(name for name in SMOOTHED if FORMATS[name].activation != "float")
# family of rotated weights -> its formats, by the size of the groups that are rotated
ROTATIONS = {
    int8_convrot.NAME: {row.rotation: row.name for row in int8_convrot.FORMATS},
    convrot_w4a4.NAME: {group: convrot_w4a4.name_of(group) for group in convrot_w4a4.GROUPS},
    int4_convrot.NAME: {row.rotation: row.name for row in int4_convrot.FORMATS},
    w4a8.NAME: {row.rotation: row.name for row in w4a8.FORMATS},
}
# format -> the family of the same one with rotated channels, of which an older ComfyUI may have no formats
ROTATED_TWINS = {"int8-channel": int8_convrot.NAME, "int4-g128": int4_convrot.NAME}
PLAIN_TWINS = {rotated: plain for plain, rotated in ROTATED_TWINS.items()}
# those of int8
ROTATED = ROTATIONS[int8_convrot.NAME]


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
    """The format of that family for a weight of `shape` (N, K): of rotated ones the widest group up to core's default
    that divides K, or the narrowest if none does, which `Format.fits` then says; for others itself."""
    groups = ROTATIONS.get(format_name)
    if not groups:
        return format_name
    dividing = (group for group in groups if group <= int8_convrot.DEFAULT_GROUP and shape[1] % group == 0)
    return groups[max(dividing, default=min(groups))]


def like(stored: str, wanted: str) -> str:
    """The format to convert a weight stored as `stored` to, if `wanted` is asked for: `wanted` with the smoothing that
    `stored` has, where it can have one, and rotated as `stored` is, where both are."""
    if stored not in FORMATS:
        return wanted
    wanted = ROTATIONS.get(wanted, {}).get(FORMATS[stored].rotation, wanted)
    return SMOOTHED.get(wanted, wanted) if FORMATS[stored].smooth else wanted


def before_repacking(format_name: str) -> str:
    """The format that `format_name` repacks, smoothed as it is, or itself."""
    return like(format_name, original(format_name))
