"""The error for a LoRA that cannot be used."""

from ..common.printable import PrintableError


class LoRAError(PrintableError, ValueError):
    """A LoRA cannot be used. The message names file, key, cause and remedy in one or two sentences."""
