"""The error for a calibration that cannot be used."""

from ..common.printable import PrintableError


class CalibrationError(PrintableError, ValueError):
    """The calibration cannot be used. The message names cause and remedy."""
