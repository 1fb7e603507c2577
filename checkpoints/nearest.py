"""A model that is not known here: which known one it is most like, and what of that one it lacks."""

import re
from collections.abc import Iterable

from ..families import FAMILIES
from ..families.family import UNKNOWN
from ..families.recognise import missing_signs, one_text

# names that are compared, of those that differ in more than numbers: more are slow and tell nothing new
MOST_NAMES = 1000
# two models of a smaller likeness have nothing to do with each other: the share of a family's signs that are there, one
# of which only the words are counts half
LEAST = 0.4
# words that names of any model have
COMMON = {
    "",
    "weight",
    "bias",
    "blocks",
    "block",
    "layers",
    "layer",
    "embedding",
    "proj",
    "norm",
    "scale",
    "transformer",
}


def nearest(names: Iterable[str]) -> str:
    """ ": the nearest known one is ..., but ...", or "" if none is near."""
    names = list(names)
    text = one_text(names)
    kinds = {re.sub(r"\d+", "0", name): name for name in reversed(names)}
    words = {name: _words(name) for name in list(kinds.values())[-MOST_NAMES:]}
    best, nearest, lacking = 0.0, None, []
    for one in (naming for family in FAMILIES if family.kind != UNKNOWN for naming in family.namings):
        missing = missing_signs(one, text)
        if missing:
            near = [max(_likeness(_words(_example(sign)), other) for other in words.values()) for sign in missing]
            share = (len(one.signs) - len(missing) + sum(near) / 2) / len(one.signs)
            if share > best:
                best, nearest, lacking = share, one, [_example(sign) for sign in missing]
    if nearest is None or best < LEAST:
        return ""
    like, name = max((_likeness(_words(lacking[0]), found), name) for name, found in words.items())
    closest = f" (the nearest is {name})" if like else ""
    return f": the nearest known one is {nearest.model}, but names like {' and '.join(lacking)} are not there{closest}"


def _example(sign: str) -> str:
    """A name that a family's sign matches."""
    plain = re.sub(r"\\d[+*]", "0", sign).replace("[1-9]0", "1").replace("\\.", ".").rstrip("$.")
    return re.sub(r"\((\w+)\|[^)]*\)", r"\1", plain)


def _words(name: str) -> frozenset[str]:
    return frozenset(word for word in re.split(r"[._]", name) if not word.isdigit()) - COMMON


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(len(one | other), 1)
