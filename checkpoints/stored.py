"""One quantized linear layer as a file has it."""

from dataclasses import dataclass

from .encodings import CODES, Encoding
from .tensor_info import TensorInfo

# codes of formats that are not read: so that the model is known, and the format can be named
UNREAD_CODES = ("weight_packed", "uint8")


@dataclass(frozen=True)
class StoredLayer:
    """A linear layer as the file has it. `name`: the file's, prefix and all; `keys`: role in the encoding -> tensor;
    `ignored`: keys that are passed over; `shape`: (N, K)."""

    name: str
    encoding: Encoding
    keys: dict[str, str]
    ignored: tuple[str, ...]
    shape: tuple[int, int]

    @property
    def weight_key(self) -> str:
        return self.keys["codes"]

    @property
    def all_keys(self) -> tuple[str, ...]:
        return (*self.keys.values(), *self.ignored)

    @property
    def notes(self) -> list[str]:
        """What to say of each ignored tensor."""
        words = (self.encoding.ignored[key.rpartition(".")[2]] for key in self.ignored)
        return [text for text in words if text]


def codes_of(key: str, info: TensorInfo) -> str | None:
    """The layer's name if `key` may be the codes of a quantized linear layer."""
    layer, _, end = key.rpartition(".")
    known = info.dtype in CODES.get(end, ()) or (end, info.dtype) == UNREAD_CODES
    return layer if layer and known and len(info.shape) == 2 else None
