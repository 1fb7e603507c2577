"""Which layers of a model are quantized, and in which format: one row per model family, a default for the rest, and
the user's own lines on top. What is known of a family lies in families/."""

from .errors import RuleError
from .overrides import Override, parse_overrides
from .selection import Selection, select

__all__ = ["Override", "RuleError", "Selection", "parse_overrides", "select"]
