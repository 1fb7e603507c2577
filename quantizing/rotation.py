"""The format with rotated input channels, or without, as the node's `rotation` asks for it."""

from ..formats import PLAIN_TWINS, ROTATED_TWINS, ROTATIONS
from ..rounding import AUTO
from .errors import QuantizeError

NONE, CONVROT = "none", "convrot"
CHOICES = (AUTO, NONE, CONVROT)


def with_rotation(format_name: str, rotation: str, chosen: bool = True) -> str:
    """What layers get in place of `format_name`. rotation: "auto" leaves it as it is, so that nothing is rotated which
    LightX2V or an older ComfyUI could not read; "none" and "convrot" are its twin without and with it. chosen: whether
    the user picked the format; one that was found for this machine is left for one that can be rotated. Raises
    QuantizeError for a format without such a twin."""
    if rotation == AUTO:
        return format_name
    if rotation == NONE and ROTATIONS.get(format_name) and format_name not in PLAIN_TWINS:
        raise QuantizeError(f"{format_name} is always rotated. Set rotation to {AUTO}, or choose another format.")
    if rotation == NONE:
        return PLAIN_TWINS.get(format_name, format_name)
    twins = {**ROTATED_TWINS, **{name: name for name, groups in ROTATIONS.items() if groups}}
    twin = twins.get(format_name) or (None if chosen else next(iter(ROTATED_TWINS.values())))
    if twin is None:
        raise QuantizeError(
            f"{format_name} cannot be rotated, only {' and '.join(ROTATED_TWINS)} can. Choose such a format, or "
            f"set rotation to {AUTO}."
        )
    if not ROTATIONS.get(twin):
        raise QuantizeError(
            f"This ComfyUI has no rotated int8 weights. Update it to 0.27 or newer, or set rotation to {AUTO}."
        )
    return twin
