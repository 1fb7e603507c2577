"""Why a model cannot be converted, in words for the person who asked for it."""


class ConvertError(ValueError):
    """The message names file, key, cause and remedy in one or two sentences."""
