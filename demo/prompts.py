"""What a prompt asks for, in the words that the demo model knows, and whether a video shows it."""

import re
from collections.abc import Collection

from .reading import Reading
from .scenes import COLOURS, DIRECTIONS, SHAPES, Scene

DEFAULT = Scene("red", "circle", "right")
PROPERTIES = ("colour", "shape", "direction")


def said(prompt: str) -> Reading:
    """The first colour, shape and direction of the prompt; None for what it does not name."""
    words = re.findall(r"[a-z]+", prompt.lower())

    def first(known: Collection[str]) -> str | None:
        return next((word for word in words if word in known), None)

    return Reading(first(COLOURS), first(SHAPES), first(DIRECTIONS))


def scene(prompt: str) -> Scene:
    """The scene that the prompt asks for; what it does not name is that of DEFAULT."""
    asked = said(prompt)
    return Scene(*(getattr(asked, name) or getattr(DEFAULT, name) for name in PROPERTIES))


def wrong(asked: Reading, shown: Reading) -> list[str]:
    """Those of PROPERTIES that were asked for and are not shown."""
    return [name for name in PROPERTIES if getattr(asked, name) not in (None, getattr(shown, name))]


def verdict(prompt: str, shown: Reading) -> str:
    """One line for a person."""
    asked = said(prompt)
    line = f"the prompt says {_words(asked, 'nothing known')}; the video shows {_words(shown, 'nothing clear')}"
    missed = wrong(asked, shown)
    if missed:
        return f"NOT as asked ({', '.join(missed)}): {line}."
    return f"As asked: {line}." if asked != Reading() else f"{line[0].upper()}{line[1:]}."


def _words(found: Reading, none: str) -> str:
    values = [getattr(found, name) for name in PROPERTIES]
    return ", ".join(value or "?" for value in values) if any(values) else none
