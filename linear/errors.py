"""Errors of quantized linear layers: what this ComfyUI asks of them and they cannot do."""

from ..common.printable import PrintableError


class CallError(PrintableError, TypeError):
    """A layer was called with arguments that are not known here."""


class PatchError(PrintableError, RuntimeError):
    """A LoRA cannot be written into a quantized weight."""
