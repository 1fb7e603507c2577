"""What a user may call a format."""

from ..formats import FORMATS
from ..schemes import UnknownSchemeError, elsewhere, resolve
from .errors import RuleError

# what repacks or smooths another format is made from that one, never chosen
CHOICES = tuple(name for name, row in FORMATS.items() if row.family == name)


def format_named(text: str) -> str:
    """The name in FORMATS for a format, or for a scheme or alias that has one ("int8", "fp8-sgl"), in upper or lower
    case. Raises RuleError, which lists the formats."""
    name = text.strip().lower()
    if name in CHOICES:
        return name
    remedy = f"Formats: {', '.join(CHOICES)}."
    try:
        scheme = resolve(name)
    except UnknownSchemeError as error:
        own = f"is what {FORMATS[name].family} becomes by smoothing, and cannot be chosen" if name in FORMATS else None
        raise RuleError(f"{text!r} {own or elsewhere(name) or 'is neither a format nor a scheme'}. {remedy}") from error
    if scheme.format not in FORMATS:
        newer = f"writes {scheme.format}, which takes a newer ComfyUI than this one"
        cause = newer if scheme.format else "has no format of its own"
        raise RuleError(f"Scheme {scheme.name} {cause}. {remedy}")
    return scheme.format
