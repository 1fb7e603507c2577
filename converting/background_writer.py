"""Work that goes on behind: a disk takes its time while the next layer is quantized."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

# bytes that wait at a time, and one call more
AHEAD = 1 << 25


class Behind:
    """A context manager whose calls run one after the other in a thread of its own. What one of them raises is raised
    by a later `call`, or at the end, and no call after it is made; after an error inside, those that wait still are."""

    def __init__(self):
        self._pool = ThreadPoolExecutor(1)
        self._waiting: deque[tuple[Future, int]] = deque()
        self._bytes = 0
        self._failed = False

    def __enter__(self) -> "Behind":
        return self

    def __exit__(self, kind: type | None, *_) -> None:
        self._pool.shutdown(wait=True)
        while kind is None and self._waiting:
            self._wait()

    def call(self, nbytes: int, work: Callable, *arguments: object) -> None:
        """work(*arguments), soon; waits while there is too much to do. nbytes: what the arguments hold."""
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
