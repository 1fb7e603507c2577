"""GGML's own quantizer, which the package gguf lacks for K-quants: from the library that the wheel of pywhispercpp
carries, called by ctypes."""

import ctypes
import functools
import importlib.metadata
from pathlib import Path

import numpy as np

WHEEL = "pywhispercpp"
LIBRARY = "*ggml-base*"
MISSING = f"The K-quants of GGUF need GGML's quantizer, which comes with a package of Linux: pip install {WHEEL}."


def find() -> Path | None:
    """The library's file, None where the package is not installed or has none."""
    try:
        files = importlib.metadata.files(WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    # a wheel may name links to the library too
    return next((Path(file.locate()) for file in files if file.match(f"{WHEEL}.libs/{LIBRARY}.so*")), None)


def quantize(values: np.ndarray, kind, importance: np.ndarray | None = None) -> np.ndarray:
    """float32 [N, K] -> the rows of the GGMLQuantizationType `kind`, uint8 [N, bytes]; K is a multiple of its block.
    importance: float32 [K], what a column's squared error counts, as an imatrix has it; None leaves that to the type.
    Raises RuntimeError where `find` finds nothing."""
    import gguf

    block, size = gguf.GGML_QUANT_SIZES[kind]
    rows, columns = values.shape
    if columns % block:
        raise ValueError(f"{kind.name} packs {block} columns at a time, and {columns} is no multiple")
    # the library reads the pointers it gets: what they point to has to stay and be as it expects
    source = np.ascontiguousarray(values, dtype=np.float32)
    weights = None if importance is None else np.ascontiguousarray(importance, dtype=np.float32)
    if weights is not None and weights.shape != (columns,):
        raise ValueError(f"an importance of {weights.shape} for {columns} columns")
    packed = np.empty((rows, columns // block * size), dtype=np.uint8)
    pointer = None if weights is None else weights.ctypes.data
    _library().ggml_quantize_init(int(kind))
    _library().ggml_quantize_chunk(int(kind), source.ctypes.data, packed.ctypes.data, 0, rows, columns, pointer)
    return packed


@functools.cache
def _library() -> ctypes.CDLL:
    path = find()
    if path is None:
        raise RuntimeError(MISSING)
    library = ctypes.CDLL(str(path))
    library.ggml_quantize_init.argtypes = [ctypes.c_int]
    # type, float32 in, bytes out, first value, rows, columns, importance
    library.ggml_quantize_chunk.argtypes = [
        ctypes.c_int,
        *[ctypes.c_void_p] * 2,
        *[ctypes.c_int64] * 3,
        ctypes.c_void_p,
    ]
    library.ggml_quantize_chunk.restype = ctypes.c_size_t
    return library
