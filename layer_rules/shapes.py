"""Which shapes a format cannot hold."""

from ..formats import FORMATS


def why_not(format_name: str, shape: tuple[int, int]) -> str | None:
    """The reason why a weight of `shape` (N, K) cannot be stored in the format, None if it can."""
    for size, multiple, word in zip(shape, FORMATS[format_name].multiples, ("out", "in"), strict=True):
        if size % multiple:
            return f"cannot be {format_name}, for which {word}_features has to be a multiple of {multiple}, not {size}"
    return None
