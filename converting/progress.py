"""What is finished of a piece of work, in bytes, or in what could be written in the same time."""

from collections.abc import Callable

# told (bytes done, bytes in all) after every step of a phase; the last call of a phase says that all is done
Progress = Callable[[int, int], None]


class Steps:
    """Counts the bytes that are finished, of `total`, and tells `progress`."""

    def __init__(self, progress: Progress, total: int):
        self._progress, self._total, self._done = progress, total, 0

    def advance(self, nbytes: int) -> None:
        self._done += nbytes
        self._progress(min(self._done, self._total), self._total)

    def finish(self) -> None:
        """Whatever was passed over is done too."""
        if self._done < self._total or self._total == 0:
            self.advance(self._total - self._done)
