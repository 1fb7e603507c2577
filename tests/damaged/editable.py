"""A safetensors file as something that can be damaged: its header's entries in order, its metadata, its bytes."""

import copy
import json
from dataclasses import dataclass

LENGTH = 8
Entry = dict


@dataclass
class Editable:
    """`entries`: (name, {"dtype", "shape", "data_offsets"}) as the header lists them, names may come twice.
    `metadata`: what stands under `__metadata__`, None for nothing. `data`: the bytes behind the header."""

    entries: list[tuple[str, Entry]]
    metadata: object
    data: bytearray

    @classmethod
    def of(cls, file: bytes) -> "Editable":
        length = int.from_bytes(file[:LENGTH], "little")
        header = json.loads(file[LENGTH : LENGTH + length])
        metadata = header.pop("__metadata__", None)
        return cls(list(header.items()), metadata, bytearray(file[LENGTH + length :]))

    def copy(self) -> "Editable":
        return copy.deepcopy(self)

    def to_bytes(self) -> bytes:
        pairs = [] if self.metadata is None else [("__metadata__", self.metadata)]
        body = ",".join(f"{json.dumps(name)}:{json.dumps(value)}" for name, value in [*pairs, *self.entries])
        return framed(f"{{{body}}}".encode("utf-8", "surrogatepass"), self.data)

    def bytes_of(self, entry: Entry) -> bytearray:
        begin, end = entry["data_offsets"]
        return self.data[begin:end]

    def replace(self, index: int, dtype: str, shape: list[int], content: bytes) -> None:
        """Gives a tensor another type, shape and content; those behind it move along."""
        name, entry = self.entries[index]
        begin, end = entry["data_offsets"]
        moved = len(content) - (end - begin)
        self.data[begin:end] = content
        for position, (other, held) in enumerate(self.entries):
            start, stop = held["data_offsets"]
            if start >= end and position != index:
                self.entries[position] = (other, {**held, "data_offsets": [start + moved, stop + moved]})
        self.entries[index] = (name, {"dtype": dtype, "shape": shape, "data_offsets": [begin, begin + len(content)]})

    def add(self, name: str, dtype: str, shape: list[int], content: bytes) -> None:
        """Appends a tensor."""
        begin = len(self.data)
        self.data += content
        self.entries.append((name, {"dtype": dtype, "shape": shape, "data_offsets": [begin, len(self.data)]}))

    def drop(self, index: int) -> None:
        """Takes a tensor out, its bytes too."""
        self.replace(index, "U8", [0], b"")
        del self.entries[index]


def framed(header: bytes, data: bytes | bytearray) -> bytes:
    return len(header).to_bytes(LENGTH, "little") + header + bytes(data)
