"""What is made: width, height and frames."""

import argparse
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Pixels, and frames of a video; 1 for a picture."""

    width: int
    height: int
    frames: int = 1

    def __str__(self) -> str:
        frames = f"x{self.frames}" if self.frames > 1 else ""
        return f"{self.width}x{self.height}{frames}"


VIDEO, PICTURE = Size(832, 480, 81), Size(1024, 1024)
MOST = 100_000


def read_size(text: str) -> Size:
    """A `type` of argparse: WxH or WxHxF."""
    numbers = re.fullmatch(r"(\d{1,6})x(\d{1,6})(?:x(\d{1,6}))?", text.strip().lower())
    values = [int(number or 1) for number in numbers.groups()] if numbers else []
    if not values or not all(0 < value <= MOST for value in values):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size like 832x480x81 or 1024x1024")
    return Size(*values)
