"""What keeps a loaded model from being quantized, in words for the person who wired it up."""

from ..common.printable import PrintableError


class QuantizeError(PrintableError, ValueError):
    """The model cannot be quantized as asked. The message names layer, cause and remedy in one or two sentences."""
