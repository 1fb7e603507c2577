"""What stops the comparison as a whole."""


class FidelityError(RuntimeError):
    """The message is one or two sentences for the person who started it, with the remedy."""
