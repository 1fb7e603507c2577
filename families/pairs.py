"""Modules of a file and those of ComfyUI that are the same, in pairs: what rename tables of both directions are made
of."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..common.row_slice import RowSlice
from .rules import Place, Rule

NUMBER = r"\d+"
MARK = "#"
# a whole module's name, with a tensor's behind it
END = r"(?=\.)"


@dataclass(frozen=True)
class Pair:
    """`ours`: a module of ComfyUI's, whose rows are those of `theirs`, in this order, one below the other. `#` in names
    is a text that matches `place`, the same one in all. `shares`: how many equal parts of the rows each of theirs has;
    none given: one each. `turned`: the two halves of the rows stand the other way round."""

    ours: str
    theirs: tuple[str, ...]
    place: str = NUMBER
    shares: tuple[int, ...] = ()
    turned: bool = False

    def to_comfyui(self) -> tuple[Rule, ...]:
        """One rule for each of theirs."""
        if self.turned:
            return (Rule(_pattern(self.theirs[0], self.place), _halves(self.ours)),)
        count = len(self.theirs)
        return tuple(
            Rule(_pattern(name, self.place), (Place(_template(self.ours), RowSlice(index, count)),))
            for index, name in enumerate(self.theirs)
        )

    def from_comfyui(self) -> Rule:
        pattern = _pattern(self.ours, self.place)
        if self.turned:
            return Rule(pattern, _halves(self.theirs[0]))
        shares = self.shares or (1,) * len(self.theirs)
        places = [
            Place(_template(name), RowSlice(index, count))
            for name, count in zip(self.theirs, shares, strict=True)
            for index in range(count)
        ]
        return Rule(pattern, tuple(places))


def pairs(ours: str, theirs: str, names: Mapping[str, str | tuple[str, ...]], place: str = NUMBER) -> tuple[Pair, ...]:
    """A Pair for each row of `names` (ComfyUI's -> theirs), all behind these two beginnings."""
    return tuple(
        Pair(f"{ours}{name}", tuple(f"{theirs}{one}" for one in ([other] if isinstance(other, str) else other)), place)
        for name, other in names.items()
    )


def to_comfyui(table: Iterable[Pair]) -> tuple[Rule, ...]:
    return tuple(rule for pair in table for rule in pair.to_comfyui())


def from_comfyui(table: Iterable[Pair]) -> tuple[Rule, ...]:
    return tuple(pair.from_comfyui() for pair in table)


def _pattern(name: str, place: str) -> str:
    return re.escape(name).replace(re.escape(MARK), f"({place})") + END


def _template(name: str) -> str:
    return name.replace(MARK, r"\1")


def _halves(name: str) -> tuple[Place, Place]:
    return Place(_template(name), RowSlice(1, 2)), Place(_template(name), RowSlice(0, 2))
