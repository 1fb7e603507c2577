"""What a user may call a format."""

from ..formats import FORMATS
from ..formats.format import Format
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
        own = _of_a_family(FORMATS[name]) if name in FORMATS else None
        raise RuleError(f"{text!r} {own or elsewhere(name) or 'is neither a format nor a scheme'}. {remedy}") from error
    if scheme.format not in FORMATS:
        newer = f"writes {scheme.format}, which takes a newer ComfyUI than this one"
        cause = newer if scheme.format else "has no format of its own"
        raise RuleError(f"Scheme {scheme.name} {cause}. {remedy}")
    return scheme.format


def _of_a_family(row: Format) -> str:
    """What to say of a format that is not chosen by its name."""
    if row.smooth:
        return f"is what {row.family} becomes by smoothing, and cannot be chosen"
    return f"is what {row.family} becomes for some layers or kernels, and cannot be chosen: write {row.family}"
