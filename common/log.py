"""The pack's log. Each message is one line; control characters in it are escaped."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from .printable import printable

log = logging.getLogger("x2v-quant")


def _one_line(record: logging.LogRecord) -> bool:
    record.msg, record.args = printable(record.getMessage()), ()
    return True


log.addFilter(_one_line)


@contextmanager
def silence() -> Iterator[None]:
    """Context manager without any logging: core logs what it builds, and missing tensors."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
