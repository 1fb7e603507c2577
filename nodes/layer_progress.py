"""How far a node is that works layer by layer, and how long it will take, on the node."""

import time

from ..common.durations import about
from .on_node import show

# between two texts, and before the first: a node that is done by then says nothing
SECONDS = 2.0


class LayerProgress:
    """Called with (layers done, layers to do, share of the work that is done): before the first layer, after each."""

    def __init__(self):
        self._started = self._shown = time.monotonic()

    def __call__(self, done: int, total: int, share: float) -> None:
        now = time.monotonic()
        if now - self._shown < SECONDS or not 0 < share < 1:
            return
        self._shown = now
        show(f"Layer {done} of {total}, {about((now - self._started) * (1 - share) / share)} left")
