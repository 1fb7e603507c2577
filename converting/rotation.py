"""A format with another rotation of its input channels, or without one, as `--rotation` asks for it."""

from collections.abc import Mapping

from ..formats import FORMATS, PLAIN_TWINS, ROTATED_TWINS, ROTATIONS, SMOOTHED
from ..rounding import AUTO
from .errors import ConvertError

NONE = "none"


def wanted_format(format_name: str, rotation: str) -> str:
    """What layers get in place of `format_name`, of CHOICES in layer_rules. rotation: as in Options. Raises
    ConvertError for a format that has no such twin, or not in this ComfyUI, and for a rotation of no format."""
    if rotation == AUTO:
        return format_name
    if rotation == NONE:
        if ROTATIONS.get(format_name) and format_name not in PLAIN_TWINS:
            raise ConvertError(f"{format_name} is always rotated. Leave --rotation out, or choose another format.")
        return PLAIN_TWINS.get(format_name, format_name)
    twin = ROTATED_TWINS.get(format_name, format_name)
    if twin in ROTATIONS and not ROTATIONS[twin]:
        raise ConvertError(
            "This ComfyUI has no rotated int8 weights. Update it to 0.27 or newer, or leave --rotation out."
        )
    if twin not in ROTATIONS:
        can = ", ".join(dict.fromkeys(PLAIN_TWINS.get(name, name) for name, groups in ROTATIONS.items() if groups))
        raise ConvertError(
            f"{format_name} has no rotation: it is for {can}. Choose one of these, or leave --rotation out."
        )
    if not rotation.isdecimal() or int(rotation) not in ROTATIONS[twin]:
        sizes = ", ".join([*map(str, sorted(ROTATIONS[twin])), *([NONE] if twin in PLAIN_TWINS else [])])
        asked = f"rotation of {rotation} channels" if rotation.lstrip("-").isdecimal() else f'rotation "{rotation}"'
        raise ConvertError(f"{twin} has no {asked}. Its rotations: {sizes}.")
    return twin


def with_groups(formats: Mapping[str, str], shapes: Mapping[str, tuple[int, int]], rotation: str) -> dict[str, str]:
    """formats: layer -> format, with the group that suits it best -> the same with groups of `rotation` channels, where
    that is a number which divides the layer's K."""
    found = dict(formats)
    size = int(rotation) if rotation.isdecimal() else 0
    for layer, name in formats.items():
        row, groups = FORMATS[name], ROTATIONS.get(FORMATS[name].family, {})
        if size in groups and size != row.rotation and not shapes[layer][1] % size:
            found[layer] = SMOOTHED[groups[size]] if row.smooth else groups[size]
    return found
