"""A few frames of everybody's videos, kept for the contact sheet."""

from collections.abc import Sequence

import torch

from ...demo.reading import read
from .cases import Case

# places in the order of the cases: the last of these is the first that was never trained
PLACES = (0, 1, 2, 3, 5)


class Frames:
    """First, middle and last frame of the cases at PLACES, by contestant."""

    def __init__(self, cases: Sequence[Case]):
        self.cases = [cases[place] for place in PLACES if place < len(cases)]
        self.rows: dict[str, torch.Tensor] = {}
        self.right: dict[str, list[bool]] = {}

    def add(self, name: str, videos: torch.Tensor) -> None:
        """videos [cases, frames, height, width, 3] in 0 to 1, of all cases."""
        shown = videos[[place for place in PLACES if place < len(videos)]]
        last = shown.shape[1] - 1
        self.rows[name] = (shown[:, [0, last // 2, last]] * 255).round().to(torch.uint8)
        matches = (read(video).matches(case.scene) for video, case in zip(shown, self.cases, strict=True))
        self.right[name] = [all(found.values()) for found in matches]
