"""The pack's log. Each message is one line; control characters in it are escaped."""

import logging

from .printable import printable

log = logging.getLogger("x2v-quant")


def _one_line(record: logging.LogRecord) -> bool:
    record.msg, record.args = printable(record.getMessage()), ()
    return True


log.addFilter(_one_line)
