"""The error of x2v-quant advise."""

from ..common.printable import PrintableError


class AdviceError(PrintableError, ValueError):
    """There is no such GPU or model here, or it is none of pictures or videos."""
