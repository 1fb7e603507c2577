"""What keeps two models from being compared, in words for the person who connected them."""

from ..common.printable import PrintableError


class CompareError(PrintableError, ValueError):
    """The models cannot be compared as asked. The message names cause and remedy in one or two sentences."""
