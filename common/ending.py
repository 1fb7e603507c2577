"""How a command tells its report, and how it ends before its time: Ctrl-C, a signal, a reader that has gone."""

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from .limits import END_SECONDS
from .printable import printable

INTERRUPTED = 130  # as a shell says it of SIGINT
UNREAD = 141  # and of SIGPIPE
STOPPED = "stopped"
PIECE = 4096  # characters
# a closed pipe, as Windows says it too
GONE = (errno.EPIPE, errno.EINVAL)
# what ends a program that does not ask for it, as far as the system has it
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))


def write(name: str, lines: Iterable[str]) -> None:
    """To standard output, each as one line: what is in it and came from outside neither ends it nor moves a cursor."""
    if sys.stdout is None:  # closed by who started the program
        return
    # a console may lack the characters of a file's name
    if isinstance(sys.stdout, io.TextIOWrapper):  # a caller may have put something else there
        sys.stdout.reconfigure(errors="backslashreplace")
    with _written(name):
        for line in lines:
            sys.stdout.writelines(_pieces(f"{printable(line)}\n"))


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """No traceback for Ctrl-C, for a reader that went away, or for a report that its disk has no room for."""
    try:
        try:
            yield
        finally:
            with _written(name):
                for stream in filter(None, (sys.stdout, sys.stderr)):
                    stream.flush()
    except KeyboardInterrupt:
        _say(name, STOPPED)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        _forget()
        raise SystemExit(UNREAD) from None


@contextmanager
def at_once(name: str) -> Iterator[None]:
    """Ctrl-C ends the program on the spot: for imports, which have nothing to undo and may swallow an exception."""
    with _handled(signal.SIGINT, lambda *_: _leave(name), signal.default_int_handler):
        yield


@contextmanager
def in_time(name: str, seconds: float = END_SECONDS) -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt; if the block is not left within `seconds`, the program ends all the same."""
    timer = threading.Timer(seconds, _leave, (name,))
    timer.daemon = True

    def interrupt(*received) -> None:
        if not timer.is_alive():
            timer.start()
        signal.default_int_handler(*received)

    with _handled(signal.SIGINT, interrupt, signal.default_int_handler):
        try:
            yield
        finally:
            timer.cancel()


@contextmanager
def signals_as_exits() -> Iterator[None]:
    """A signal that would end the program raises SystemExit, so that what was started is stopped on the way out."""
    with ExitStack() as stack:
        for number in ENDING:
            stack.enter_context(_handled(number, lambda number, _: sys.exit(128 + number), signal.SIG_DFL))
        yield


@contextmanager
def _handled(number: int, handler: Callable, default: object) -> Iterator[None]:
    """Where the signal has its default: who started the program may have it ignored (nohup, a shell's &)."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(number) is not default:
        yield
        return
    signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, default)


def _pieces(text: str) -> Iterator[str]:
    """An unbuffered stream (PYTHONUNBUFFERED) loses what a pipe did not take of one write."""
    return (text[start : start + PIECE] for start in range(0, len(text), PIECE))


@contextmanager
def _written(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _forget()
        if error.errno in GONE:
            raise SystemExit(UNREAD) from None
        _say(name, f"the report cannot be written: {error.strerror}")
        raise SystemExit(1) from None


def _forget() -> None:
    """What could not be written: the interpreter tries again at its end."""
    with open(os.devnull, "w") as nowhere:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with suppress(OSError):
                stream.flush()
                continue
            os.dup2(nowhere.fileno(), stream.fileno())


def _say(name: str, text: str) -> None:
    """Past Python's streams, which may be what has failed."""
    with suppress(OSError):
        os.write(2, f"{name}: {text}\n".encode())


def _leave(name: str) -> None:
    _say(name, STOPPED)
    os._exit(INTERRUPTED)
