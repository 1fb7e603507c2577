"""A thread pool for many small computations, each on a single thread."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Item, Result = TypeVar("Item"), TypeVar("Result")

# most workers; each has a chunk in float32 in memory
MOST = 16


class ThreadPool:
    """Context manager with as many workers as torch has threads, up to MOST, each with one torch thread: threads that
    share a small operation wait for each other longer than they compute, and much longer on a busy machine. Work that
    has not begun at exit is dropped."""

    def __init__(self):
        self._threads = torch.get_num_threads()
        self._count = min(self._threads, MOST)
        self._inference = torch.is_inference_mode_enabled()
        self._started = threading.Barrier(self._count + 1)
        self._pool = ThreadPoolExecutor(self._count, initializer=self._compute_alone)

    def __enter__(self) -> "ThreadPool":
        for _ in range(self._count):
            self._pool.submit(int)
        self._started.wait()
        # each worker has set its own number of threads, but torch uses the last one set for new threads
        torch.set_num_threads(self._threads)
        return self

    def __exit__(self, *_) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _compute_alone(self) -> None:
        torch.get_num_threads()  # the first call in a thread initialises its number
        torch.set_num_threads(1)
        self._started.wait()

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yields work(item) for every item in order, with up to two items per worker queued. Raises what `work`
        raises."""
        waiting: deque[Future] = deque()
        for item in items:
            waiting.append(self._pool.submit(self._in_this_mode, work, item))
            if len(waiting) > 2 * self._count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _in_this_mode(self, work: Callable[[Item], Result], item: Item) -> Result:
        """Inference mode is per thread: set that of the thread that made the pool."""
        with torch.inference_mode(self._inference):
            return work(item)
