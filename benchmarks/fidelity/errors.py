"""What stops the comparison as a whole."""

from ...common.printable import PrintableError


class FidelityError(PrintableError, RuntimeError):
    """The message is one or two sentences for the person who started it, with the remedy."""
