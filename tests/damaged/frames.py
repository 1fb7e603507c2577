"""Damages of a safetensors file's bytes: its length, its JSON, its end."""

import random
from collections.abc import Callable

from .editable import LENGTH, framed


def _parts(file: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(file[:LENGTH], "little")
    return file[LENGTH : LENGTH + length], file[LENGTH + length :]


def cut(rng: random.Random, file: bytes) -> bytes:
    header, _ = _parts(file)
    places = (0, 1, LENGTH - 1, LENGTH, LENGTH + 1, LENGTH + len(header), len(file) - 1)
    return file[: rng.choice((*places, rng.randrange(len(file)), LENGTH + rng.randrange(len(header))))]


def longer(rng: random.Random, file: bytes) -> bytes:
    return file + bytes(rng.randrange(1, 100))


def length(rng: random.Random, file: bytes) -> bytes:
    header, _ = _parts(file)
    wrong = (0, 1, len(header) - 1, len(header) + 1, len(file), 2**31, 2**63, 2**64 - 1, rng.randrange(2**64))
    return rng.choice(wrong).to_bytes(LENGTH, "little") + file[LENGTH:]


def flipped(rng: random.Random, file: bytes) -> bytes:
    """Some bytes of the header's JSON."""
    header, data = _parts(file)
    changed = bytearray(header)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return framed(bytes(changed), data)


def nested(rng: random.Random, file: bytes) -> bytes:
    _, data = _parts(file)
    depth = rng.choice((100, 10_000, 200_000))
    text = rng.choice((b"[" * depth, b'{"a":' * depth + b"1" + b"}" * depth, b"[" * depth + b"]" * depth))
    return framed(text, data)


def no_table(rng: random.Random, file: bytes) -> bytes:
    _, data = _parts(file)
    return framed(rng.choice((b"[]", b"null", b"3", b'"x"', b"{}", b"", b" ", b"\xff\xfe{\x00}\x00", b"NaN")), data)


def something_else(rng: random.Random, file: bytes) -> bytes:
    starts = (b"PK\x03\x04", b"GGUF", b"<html>", b"version https://git-lfs", b"\x80\x02}q", b"\x89PNG\r\n", b"\0" * 64)
    return rng.choice(starts) + rng.choice((b"", file))


DAMAGES: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "cut off": cut,
    "longer": longer,
    "the header's length": length,
    "bytes of the header": flipped,
    "nesting": nested,
    "no header": no_table,
    "another kind of file": something_else,
}
