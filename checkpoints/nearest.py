"""A model that is not known here: which known one it is most like, and what of that one it lacks."""

import re
from collections.abc import Iterable

from .kinds import FAMILIES, UNKNOWN, missing_signs

# names that are compared, of those that differ in more than numbers: more are slow and tell nothing new
MOST_NAMES = 1000
# below this share of common words two models have nothing to do with each other
LEAST = 0.25


def nearest(names: Iterable[str]) -> str:
    """ ": the nearest is ..., but ...", or "" if none is near."""
    kinds = list(dict.fromkeys(re.sub(r"\d+", "0", name) for name in names))[:MOST_NAMES]
    text, words = "\n".join(kinds), {name: _words(name) for name in kinds}
    best, family = 0.0, None
    for one in FAMILIES:
        if one.kind != UNKNOWN:
            missing = missing_signs(one, text)
            found = [max(_likeness(_words(_example(sign)), other) for other in words.values()) for sign in missing]
            share = (len(one.signs) - len(missing) + sum(found)) / len(one.signs)
            if share > best:
                best, family = share, one
    if family is None or best < LEAST:
        return ""
    lacking = [_example(sign) for sign in missing_signs(family, text)]
    most_like = max(kinds, key=lambda name: _likeness(_words(lacking[0]), words[name]))
    return (
        f": the nearest known one is {family.model}, but names like {' and '.join(lacking)} are not there (the nearest "
        f"is {most_like})"
    )


def _example(sign: str) -> str:
    """A name that a family's sign matches."""
    plain = re.sub(r"\\d[+*]", "0", sign).replace("[1-9]0", "1").replace("\\.", ".").rstrip("$.")
    return re.sub(r"\((\w+)\|[^)]*\)", r"\1", plain)


def _words(name: str) -> frozenset[str]:
    return frozenset(re.split(r"[._]", name)) - {"0", "1", ""}


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(len(one | other), 1)
