"""Many layers' names in few words: those that differ in the number of their block alone are one."""

import re
from collections.abc import Iterable

# "3", "0-39" or "0-3,7": the numbers that a short name has in place of one
NUMBERS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")


def shortened(names: Iterable[str]) -> list[str]:
    """["blocks.0.ffn.2", "blocks.1.ffn.2", "head"] -> ["blocks.0-1.ffn.2", "head"]: the first number of a name stands
    for all that occur there. In alphabetical order of the rest."""
    found: dict[tuple[str, str], set[int]] = {}
    for name in names:
        before, number, after = _parts(name)
        found.setdefault((before, after), set()).update([int(number)] if number else [])
    return [f"{before}{_spans(sorted(numbers))}{after}" for (before, after), numbers in sorted(found.items())]


def stands_for(short: str, name: str) -> bool:
    """Whether `name` is one of those that became `short`."""
    before, number, after = _parts(name)
    if not number:
        return short == name
    if not short.startswith(before) or not short.endswith(after):
        return False
    numbers = short[len(before) : len(short) - len(after)]
    return NUMBERS.fullmatch(numbers) is not None and any(
        int(first) <= int(number) <= int(last or first)
        for first, _, last in (span.partition("-") for span in numbers.split(","))
    )


def _parts(name: str) -> tuple[str, str, str]:
    """What is before the first number between dots, the number, "" for none, and what is behind it."""
    words = name.split(".")
    place = next((place for place, word in enumerate(words) if word.isascii() and word.isdecimal()), None)
    if place is None:
        return name, "", ""
    return ".".join([*words[:place], ""]), words[place], ".".join(["", *words[place + 1 :]])


def _spans(numbers: list[int]) -> str:
    """[0, 1, 2, 5] -> "0-2,5" """
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], number]
        else:
            spans.append([number])
    return ",".join("-".join(map(str, span)) for span in spans)
