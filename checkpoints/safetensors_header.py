"""The header of a safetensors file: 8 bytes of length (little endian), JSON, then the data without a hole."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import safetensors

from ..common import limits
from .errors import CheckpointError, Problem
from .other_files import AGAIN, LENGTH_BYTES, other_file
from .tensor_info import MARKER_SUFFIXES, START_BYTES, ZERO_POINTS, Contents, TensorInfo

# the file's word -> (torch's name, bits)
DTYPES = {
    "BOOL": ("bool", 8),
    "U8": ("uint8", 8),
    "I8": ("int8", 8),
    "U16": ("uint16", 16),
    "I16": ("int16", 16),
    "U32": ("uint32", 32),
    "I32": ("int32", 32),
    "U64": ("uint64", 64),
    "I64": ("int64", 64),
    "F16": ("float16", 16),
    "BF16": ("bfloat16", 16),
    "F32": ("float32", 32),
    "F64": ("float64", 64),
    "C64": ("complex64", 64),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E5M2": ("float8_e5m2", 8),
    "F8_E8M0": ("float8_e8m0fnu", 8),
    "F6_E2M3": ("float6_e2m3", 6),
    "F6_E3M2": ("float6_e3m2", 6),
    "F4": ("float4_e2m1fn_x2", 4),
}

# what "\\ud800" in JSON becomes; the library that reads the weights takes none
SURROGATE = re.compile("[\ud800-\udfff]")

# characters of a type that is no word for one
SHOWN = 20


def read_header(path: Path) -> Contents:
    """Names, shapes and types, without the data. Raises CheckpointError for anything but a whole safetensors file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(LENGTH_BYTES)
        length = int.from_bytes(start[:LENGTH_BYTES], "little")
        if len(start) < LENGTH_BYTES or length > min(size - LENGTH_BYTES, limits.HEADER_BYTES):
            raise _something_else(path, start, length)
        file.seek(LENGTH_BYTES)
        header = _parse(path, file.read(length))
        check_count(path.name, len(header))
        base = LENGTH_BYTES + length
        contents = Contents(metadata=_metadata(path, header.pop("__metadata__", {})))
        ranges = []
        for key, entry in header.items():
            contents.tensors[key], begin, end = _tensor(path, key, entry, base)
            ranges.append((begin, end))
        _check_ranges(path, ranges, size - base)
        _check_types(path, header)
        for (key, info), (begin, _) in zip(list(contents.tensors.items()), ranges, strict=True):
            if key.endswith(ZERO_POINTS):
                file.seek(base + begin)
                contents.tensors[key] = replace(info, start=file.read(min(info.nbytes, START_BYTES)))
            if key.endswith(MARKER_SUFFIXES):
                file.seek(base + begin)
                contents.markers[key] = file.read(info.nbytes) if info.nbytes <= limits.MARKER_BYTES else b""
    return contents


def check_count(name: str, tensors: int) -> None:
    """Raises CheckpointError for more than any model has: the names are looked at one by one."""
    if tensors > limits.TENSORS:
        cause = f"has {tensors} tensors, and a model has at most {limits.TENSORS}"
        raise Problem(name, "", cause, "Get the model from its publisher.").error()


def _something_else(path: Path, start: bytes, length: int) -> CheckpointError:
    other = other_file(path)
    if other is not None:
        return Problem(path.name, "", other.cause, other.remedy).error()
    if len(start) >= LENGTH_BYTES and length <= limits.HEADER_BYTES:
        return Problem(path.name, "", "is cut off inside its header", AGAIN).error()
    return Problem(path.name, "", "is not a safetensors file", AGAIN).error()


def _damaged(path: Path, key: str, cause: str) -> CheckpointError:
    return Problem(path.name, key, cause, f"The file is damaged: {AGAIN[0].lower()}{AGAIN[1:]}").error()


def _parse(path: Path, text: bytes) -> dict:
    """As strict as the library that reads the weights: UTF-8, no NaN."""
    try:
        header = json.loads(text.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "", "has a header that is no JSON") from error
    if not isinstance(header, dict) or not all(key.isprintable() for key in header):
        raise _damaged(path, "", "has a header that is no table of tensors")
    return header


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _metadata(path: Path, metadata: object) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged(path, "__metadata__", "is no table of texts")
    if any(SURROGATE.search(text) for text in (*metadata, *metadata.values())):
        raise _damaged(path, "__metadata__", "has half a character")
    return metadata


def _tensor(path: Path, key: str, entry: object, base: int) -> tuple[TensorInfo, int, int]:
    fields = entry if isinstance(entry, dict) else {}
    word, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    if not isinstance(word, str) or not word.isprintable() or not _sizes(shape) or not _sizes(offsets, 2):
        raise _damaged(path, key, "has no valid dtype, shape and place")
    begin, end = offsets
    dtype, bits = DTYPES.get(word, (word, None))
    if end < begin or (bits is not None and math.prod(shape) * bits != (end - begin) * 8):
        raise _damaged(path, key, f"is {end - begin} bytes long, which is not {word} {shape}")
    return TensorInfo(tuple(shape), dtype, end - begin, path, base + begin), begin, end


def _check_types(path: Path, header: dict) -> None:
    """A type that is not in DTYPES is left to the library that reads the weights, which may be newer than the table."""
    unknown = [key for key, entry in header.items() if entry["dtype"] not in DTYPES]
    if not unknown:
        return
    try:
        with safetensors.safe_open(path, framework="pt"):
            pass
    except safetensors.SafetensorError as error:
        word = header[unknown[0]]["dtype"][:SHOWN]
        cause = f"is of the type {word}, which safetensors {safetensors.__version__} does not read"
        remedy = "Update safetensors, or get the model from its publisher."
        raise Problem(path.name, unknown[0], cause, remedy).error() from error


def _sizes(value: object, count: int | None = None) -> bool:
    """A list of numbers >= 0, which a torch tensor could have as its shape."""
    return (
        isinstance(value, list)
        and len(value) <= limits.DIMENSIONS
        and count in (None, len(value))
        and all(type(number) is int and 0 <= number < 2**63 for number in value)
    )


def _check_ranges(path: Path, ranges: list[tuple[int, int]], size: int) -> None:
    position = 0
    for begin, end in sorted(ranges):
        if begin != position:
            raise _damaged(path, "", f"has a hole or an overlap at byte {min(begin, position)} of its data")
        position = end
    if position > size:
        raise Problem(path.name, "", f"is cut off: {size} of {position} bytes of weights are there", AGAIN).error()
    if position < size:
        raise _damaged(path, "", f"has {size - position} bytes after its last tensor")
