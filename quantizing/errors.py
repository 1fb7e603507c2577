"""The error for a loaded model that cannot be quantized or saved."""

from ..common.printable import PrintableError


class QuantizeError(PrintableError, ValueError):
    """The model cannot be quantized as asked. The message names layer, cause and remedy in one or two sentences."""
