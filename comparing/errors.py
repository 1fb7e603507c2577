"""The error for two models that cannot be compared."""

from ..common.printable import PrintableError


class CompareError(PrintableError, ValueError):
    """The models cannot be compared as asked. The message names cause and remedy in one or two sentences."""
