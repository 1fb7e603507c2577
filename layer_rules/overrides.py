"""The user's own lines: `pattern = format` or `pattern = keep`."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..common import limits
from ..families.recognise import PREFIXES
from .errors import RuleError
from .format_names import CHOICES, format_named

KEEP = "keep"
COMMENT = "#"
WILDCARDS = frozenset("*?[")
NEAR = 3
CUTOFF = 0.5


@dataclass(frozen=True)
class Override:
    """`format`: a name in FORMATS, or "keep", which leaves a layer as it is.

    `pattern` is compared with the names of layers in upper and lower case as written; `*`, `?` and `[...]` as in a
    shell, and `*` matches dots too. It names a whole layer or the end of its name after a dot: "ffn.0" is
    "blocks.3.ffn.0". Without wildcards it also names a module and means everything in it: "blocks.0", "cross_attn".
    """

    pattern: str
    format: str

    def __str__(self) -> str:
        return f"{self.pattern} = {self.format}"

    def matches(self, name: str) -> bool:
        if fnmatchcase(name, self.pattern) or fnmatchcase(name, f"*.{self.pattern}"):
            return True
        return not self.wild and f".{self.pattern}." in f".{name}."

    @property
    def wild(self) -> bool:
        return not WILDCARDS.isdisjoint(self.pattern)


def parse_overrides(text: str) -> list[Override]:
    """One override per line; `#` begins a comment, empty lines are passed over. A model prefix or ".weight" in a
    pattern may be there or not. Raises RuleError, which names the line, and for text longer than any that is needed."""
    check_length(text)
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition(COMMENT)[0].strip()
        if content:
            found.append(_parsed(number, content))
    if len(found) > limits.LAYER_RULES:
        raise RuleError(
            f"There are {len(found)} layer rules, and {limits.LAYER_RULES} are read at most. Write one with * for all "
            "layers of a kind."
        )
    return found


def check_length(text: str) -> None:
    """Before any of it is looked at."""
    if len(text) > limits.LAYER_RULES_CHARS:
        raise RuleError(
            f"The layer rules have {len(text)} characters, and {limits.LAYER_RULES_CHARS} are read at most. Write one "
            "with * for all layers of a kind."
        )


def _parsed(number: int, content: str) -> Override:
    if len(content) > limits.KEY_CHARS:
        raise RuleError(
            f"Line {number} of the layer rules has {len(content)} characters, and no layer's name has more than "
            f"{limits.KEY_CHARS}. Write one rule per line."
        )
    where = f"Line {number} of the layer rules ({content!r})"
    pattern, equals, value = (part.strip() for part in content.partition("="))
    if not (equals and pattern and value):
        raise RuleError(f"{where} is not of the form 'pattern = format'. Formats: {', '.join(CHOICES)}, or {KEEP}.")
    return Override(_bare(pattern), _format(where, value))


def _format(where: str, value: str) -> str:
    if value.lower() == KEEP:
        return KEEP
    try:
        return format_named(value)
    except RuleError as error:
        raise RuleError(f"{where}: {error} Or {KEEP}, which leaves the layer as it is.") from error


def _bare(pattern: str) -> str:
    prefix = next((prefix for prefix in PREFIXES if pattern.startswith(prefix)), "")
    return pattern.removeprefix(prefix).removesuffix(".weight") or pattern


def near(pattern: str, names: Iterable[str]) -> list[str]:
    """Names, or ends of names with as many parts as the pattern has, that may have been meant; nearest first."""
    parts = pattern.count(".") + 1
    ends = {name: None for whole in names for name in (whole, ".".join(whole.split(".")[-parts:]))}
    return difflib.get_close_matches(re.sub(r"[*?\[\]]", "", pattern), ends, n=NEAR, cutoff=CUTOFF)
