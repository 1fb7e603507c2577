"""Files that are mapped to be looked at: the same tensors as they are loaded with, and larger than memory."""

import json
import os
import struct

import psutil
import pytest
import torch
from safetensors.torch import save_file

from x2v_quant.checkpoints.reader import map_file, read_file
from x2v_quant.checkpoints.written_header import written_header

TYPES = (torch.uint8, torch.float8_e4m3fn, torch.bfloat16, torch.float32, torch.int64, torch.bool)


def bits(tensor):
    return tensor.dtype, tensor.shape, tensor.reshape(-1).view(torch.uint8).tolist()


def test_every_type_is_the_same_as_it_is_loaded(tmp_path):
    path = tmp_path / "a.safetensors"
    tensors = {str(dtype): torch.arange(6).reshape(2, 3).to(dtype) for dtype in TYPES}
    tensors |= {"none": torch.empty((0, 4)), "one": torch.tensor(2.5), "odd": torch.zeros(3, dtype=torch.uint8)}
    save_file(tensors, path)
    mapped, loaded = map_file(path), read_file(path)
    assert mapped.keys() == loaded.keys() == tensors.keys()
    assert {key: bits(tensor) for key, tensor in mapped.items()} == {
        key: bits(tensor) for key, tensor in loaded.items()
    }


def test_values_that_begin_at_any_byte(tmp_path):
    """Others write tensors in any order."""
    path = tmp_path / "a.safetensors"
    entries = {"a": ("U8", 3, [0, 3]), "b": ("F32", 2, [3, 11])}
    header = {name: {"dtype": word, "shape": [n], "data_offsets": ends} for name, (word, n, ends) in entries.items()}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(3) + struct.pack("<2f", 1.5, -2.0))
    assert map_file(path)["b"].tolist() == [1.5, -2.0]


@pytest.mark.skipif(os.name == "nt", reason="Windows writes the zeros of such a file")
def test_a_file_larger_than_memory(tmp_path):
    path, rows = tmp_path / "a.safetensors", 2 * psutil.virtual_memory().total // (1 << 20)
    header, _ = written_header({"a": (torch.float8_e4m3fn, (rows, 1 << 20)), "b": (torch.float32, (1,))}, {})
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + (rows << 20) + 4)
    assert map_file(path)["a"].shape == (rows, 1 << 20)
