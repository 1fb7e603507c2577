"""The header of a safetensors file that is written."""

import json
from collections.abc import Mapping

import torch

from .safetensors_header import DTYPES, LENGTH_BYTES

WORDS = {name: word for word, (name, _) in DTYPES.items()}
ALIGNMENT = 8


def written_header(
    tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]], metadata: Mapping[str, str]
) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """tensors: name -> (dtype, shape) -> (the file's bytes before its data, name -> begin and end in the file).

    In the order of the data, which has no hole. Wide types come first, so that every tensor begins at a multiple of its
    size, which is where readers look for it."""
    entries: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    ranges, end = {}, 0
    for name in sorted(tensors, key=lambda name: -tensors[name][0].itemsize):
        dtype, shape = tensors[name]
        ranges[name] = begin, end = end, end + dtype.itemsize * torch.Size(shape).numel()
        word = WORDS[str(dtype).removeprefix("torch.")]
        entries[name] = {"dtype": word, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    header = len(text).to_bytes(LENGTH_BYTES, "little") + text
    return header, {name: (len(header) + begin, len(header) + end) for name, (begin, end) in ranges.items()}
