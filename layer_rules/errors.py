"""What is wrong with a choice of layers or formats."""

from ..common.printable import PrintableError


class RuleError(PrintableError, ValueError):
    """The message is for a person: the line or layer, the cause and the remedy."""
