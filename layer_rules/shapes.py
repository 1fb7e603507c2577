"""Which shapes a format cannot hold."""

# format -> the multiples that N and K have to be of. int4-g128 puts two codes of a row into a byte. What mxfp8 and
# nvfp4 store of other sizes is padded, and a file does not say how far: it would not be read back as the layer it was.
# int8-convrot rotates 4 channels at least.
MULTIPLES = {"int4-g128": (1, 2), "int8-convrot": (1, 4), "mxfp8": (32, 32), "nvfp4": (16, 16)}


def why_not(format_name: str, shape: tuple[int, int]) -> str | None:
    """The reason why a weight of `shape` (N, K) cannot be stored in the format, None if it can."""
    multiples = MULTIPLES.get(format_name, (1, 1))
    for size, multiple, word in zip(shape, multiples, ("out", "in"), strict=True):
        if size % multiple:
            return f"cannot be {format_name}, for which {word}_features has to be a multiple of {multiple}, not {size}"
    return None
