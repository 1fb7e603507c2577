"""Numbers that are typed on a command line, read within limits."""

import argparse
import math
from collections.abc import Callable

WORDS = {int: "a whole number", float: "a number"}


def between(kind: type[int] | type[float], least: float, most: float = math.inf) -> Callable[[str], float]:
    """A `type` of argparse: reads a number of `kind` from `least` to `most`, and neither infinity nor NaN."""
    limits = f"between {least} and {most}" if most < math.inf else f"{least} or more"

    def read(text: str) -> float:
        try:
            value = kind(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not {WORDS[kind]}") from error
        if not least <= value <= most or value == math.inf:
            raise argparse.ArgumentTypeError(f"{text} is not {limits}")
        return value

    return read
