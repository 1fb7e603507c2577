"""Prints a command's report, and handles early ends: Ctrl-C, signals, a closed pipe."""

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
# errors for a closed pipe, on Windows too
GONE = (errno.EPIPE, errno.EINVAL)
# signals that end a program, as far as the system has them
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))


def open_closed_streams() -> None:
    """Lead standard streams that whoever started the program has closed to nothing: what is printed is dropped, and no
    file that is opened later gets their numbers and with them what a library prints."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:
            setattr(sys, stream, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  (to the program's end)


def write(name: str, lines: Iterable[str]) -> None:
    """Print each of `lines` to standard output as one line; control characters in it are escaped."""
    # a console may lack the characters of a file's name
    if isinstance(sys.stdout, io.TextIOWrapper):  # a caller may have put something else there
        sys.stdout.reconfigure(errors="backslashreplace")
    with _written(name):
        for line in lines:
            sys.stdout.writelines(_pieces(f"{printable(line)}\n"))


@contextmanager
def quiet(name: str, program: bool = False) -> Iterator[None]:
    """Context manager that ends without a traceback on Ctrl-C, a closed pipe or a full disk under the output. program:
    nothing but the interpreter's own end follows, which Ctrl-C then cuts short."""
    try:
        try:
            yield
        finally:
            if program:
                _handle(signal.SIGINT, lambda *_: _leave(name), signal.default_int_handler)
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
    """Context manager in which Ctrl-C ends the program at once: for imports, which may swallow an exception."""
    with _handled(signal.SIGINT, lambda *_: _leave(name), signal.default_int_handler):
        yield


@contextmanager
def in_time(name: str, seconds: float = END_SECONDS) -> Iterator[None]:
    """Context manager in which Ctrl-C raises KeyboardInterrupt; if the block does not end within `seconds`, the program
    does."""
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
    """Context manager in which signals that would end the program raise SystemExit, so that `finally` blocks run."""
    with ExitStack() as stack:
        for number in ENDING:
            stack.enter_context(_handled(number, lambda number, _: sys.exit(128 + number), signal.SIG_DFL))
        yield


@contextmanager
def _handled(number: int, handler: Callable, default: object) -> Iterator[None]:
    """Install `handler` only if the signal has its default: the parent may have it ignored (nohup, a shell's &)."""
    installed = _handle(number, handler, default)
    try:
        yield
    finally:
        if installed:
            signal.signal(number, default)


def _handle(number: int, handler: Callable, default: object) -> bool:
    """Whether `handler` is installed now."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(number) is not default:
        return False
    signal.signal(number, handler)
    return True


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces: an unbuffered stream (PYTHONUNBUFFERED) loses what a pipe did not take of one write."""
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
    """Drop what could not be written, which the interpreter would try again at its end."""
    with open(os.devnull, "w") as nowhere:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with suppress(OSError):
                stream.flush()
                continue
            os.dup2(nowhere.fileno(), stream.fileno())


def _say(name: str, text: str) -> None:
    """Write to standard error without Python's streams, which may have failed."""
    with suppress(OSError):
        os.write(2, f"{name}: {text}\n".encode())


def _leave(name: str) -> None:
    _say(name, STOPPED)
    os._exit(INTERRUPTED)
