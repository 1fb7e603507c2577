"""Runs writes in a background thread while the next layer is quantized."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

# most bytes that wait before another call is accepted
AHEAD = 1 << 25


class BackgroundWriter:
    """Context manager that runs calls in order in one background thread. An exception in a call is raised by a later
    `call` or at exit, and no later call runs. If the block itself raises, waiting calls still run."""

    def __init__(self):
        self._pool = ThreadPoolExecutor(1)
        self._waiting: deque[tuple[Future, int]] = deque()
        self._bytes = 0
        self._failed = False

    def __enter__(self) -> "BackgroundWriter":
        return self

    def __exit__(self, kind: type | None, *_) -> None:
        self._pool.shutdown(wait=True)
        while kind is None and self._waiting:
            self._wait()

    def call(self, nbytes: int, work: Callable, *arguments: object) -> None:
        """Queue work(*arguments); blocks while more than AHEAD bytes wait. nbytes: size of the arguments."""
        while self._bytes > AHEAD:
            self._wait()
        self._bytes += nbytes
        self._waiting.append((self._pool.submit(self._make, work, *arguments), nbytes))

    def _wait(self) -> None:
        future, nbytes = self._waiting.popleft()
        self._bytes -= nbytes
        future.result()

    def _make(self, work: Callable, *arguments: object) -> None:
        if not self._failed:
            self._failed = True
            work(*arguments)
            self._failed = False
