"""How far a node is that works layer by layer, and how long it will take, on the node."""

import time

from ..rounding.estimate import words
from .on_node import show

# between two texts; a node that is done by the first says nothing
SECONDS = 2.0


class LayerProgress:
    """Called with (layers done, layers to do, seconds left or None) before each layer."""

    def __init__(self):
        self._shown = 0.0

    def __call__(self, done: int, total: int, left: float | None) -> None:
        now = time.monotonic()
        if left is None or left < SECONDS or now - self._shown < SECONDS:
            return
        self._shown = now
        show(f"Layer {done + 1} of {total}, {words(left)} left")
