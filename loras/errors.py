"""Why a LoRA cannot be used, in words for the person who picked it."""

from ..common.printable import PrintableError


class LoRAError(PrintableError, ValueError):
    """The message names file, key, cause and remedy in one or two sentences."""
