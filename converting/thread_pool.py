"""Many small pieces of work at a time, each in one thread from its start to its end."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Item, Result = TypeVar("Item"), TypeVar("Result")

# workers: each holds a chunk in float32
MOST = 16


class SideBySide:
    """As many workers as torch has threads, up to MOST, each of which computes alone: threads that share a small
    operation wait for each other longer than they work, and without end where another process has one of the cores.

    A context manager; work that has not begun when it ends is dropped.
    """

    def __init__(self):
        self._threads = torch.get_num_threads()
        self._count = min(self._threads, MOST)
        self._inference = torch.is_inference_mode_enabled()
        self._started = threading.Barrier(self._count + 1)
        self._pool = ThreadPoolExecutor(self._count, initializer=self._compute_alone)

    def __enter__(self) -> "SideBySide":
        for _ in range(self._count):
            self._pool.submit(int)
        self._started.wait()
        # a worker's number is its own, but torch takes the last one that was set for threads to come
        torch.set_num_threads(self._threads)
        return self

    def __exit__(self, *_) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _compute_alone(self) -> None:
        torch.get_num_threads()  # a thread's first question sets its number
        torch.set_num_threads(1)
        self._started.wait()

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """work(item) of every item in order; two per worker are begun before their turn. Raises what `work` raises."""
        waiting: deque[Future] = deque()
        for item in items:
            waiting.append(self._pool.submit(self._in_this_mode, work, item))
            if len(waiting) > 2 * self._count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _in_this_mode(self, work: Callable[[Item], Result], item: Item) -> Result:
        """Inference mode is a thread's own."""
        with torch.inference_mode(self._inference):
            return work(item)
