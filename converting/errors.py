"""Why a model cannot be converted, in words for the person who asked for it."""

from ..common.printable import PrintableError


class ConvertError(PrintableError, ValueError):
    """The message names file, key, cause and remedy in one or two sentences."""
