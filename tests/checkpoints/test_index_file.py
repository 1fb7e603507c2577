"""The index of a model in shards: what it names, what it may not, and what it costs."""

import json
import os

import pytest
import torch
from sharded import BIN, BLOCKS, INDEX, SHARDS, split

from x2v_quant.checkpoints import CheckpointError, index_file, is_part, open_checkpoint, part_names
from x2v_quant.common import limits

UNSEEN = [{"a\nproblems: none": "b"}, {"a": "b\x1b[2J"}, {"\u202ea": "b"}, {"a": "\ud800"}, {"a\0": "b"}]


def test_only_the_files_of_the_index_are_read(folder, write):
    path = folder(SHARDS)
    write({"other": torch.zeros(1)}, "wan/another.safetensors")
    checkpoint = open_checkpoint(path)
    assert {f.name for f in checkpoint.files} == set(SHARDS)
    assert "another.safetensors" in checkpoint.notes[0]


def test_a_shard_without_a_tensor_of_the_index_is_refused(folder, write, wan):
    path = folder(SHARDS)
    part = split(wan(), SHARDS)[SHARDS[0]]
    part.pop("blocks.0.self_attn.q.weight")
    write(part, f"wan/{SHARDS[0]}")
    with pytest.raises(
        CheckpointError, match=r"blocks\.0\.self_attn\.q\.weight is named by the index but is not there"
    ):
        open_checkpoint(path)


def test_two_indexes_are_refused(folder):
    path = folder(SHARDS)
    (path / f"b.{INDEX}").write_text((path / INDEX).read_text())
    with pytest.raises(CheckpointError, match="more than one model"):
        open_checkpoint(path)


@pytest.mark.parametrize("names", UNSEEN, ids=ascii)
def test_an_index_with_names_that_are_not_seen_is_refused(names, folder):
    path = folder(SHARDS)
    (path / INDEX).write_text(json.dumps({"weight_map": names}))
    with pytest.raises(CheckpointError, match=f"{INDEX}: weight_map has names that are not text"):
        open_checkpoint(path)


@pytest.mark.parametrize("index", ["{", "[]", '{"weight_map": []}', '{"weight_map": {"a": 3}}'])
def test_a_broken_index_is_refused(index, folder):
    path = folder(SHARDS)
    (path / INDEX).write_text(index)
    with pytest.raises(CheckpointError, match=INDEX):
        open_checkpoint(path)


def test_an_index_of_pytorch_files_cannot_leave_its_folder(folder, write):
    path = folder(BIN)
    write({"a": torch.zeros(1)}, "secret.bin")
    (path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": "../secret.bin"}}))
    with pytest.raises(CheckpointError, match="names no PyTorch files of its own folder"):
        open_checkpoint(path)


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "sub/x.safetensors", "..", "x.pth"])
def test_an_index_cannot_leave_its_folder(name, folder, write):
    path = folder(SHARDS)
    write({"a": torch.zeros(1)}, "secret.safetensors")
    (path / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(CheckpointError, match="names no safetensors files of its own folder"):
        open_checkpoint(path)


def test_an_index_is_read_once_for_all_files_beside_it(folder, write, monkeypatch):
    path = folder(SHARDS)
    for number in range(20):
        write({"other": torch.zeros(1)}, f"wan/{number}.safetensors")
    read, parsed = [], index_file.json.loads
    monkeypatch.setattr(index_file.json, "loads", lambda text: read.append(1) or parsed(text))
    for _ in range(3):
        assert sum(is_part(file) for file in path.glob("*.safetensors")) == 2
        assert part_names(path) == set(SHARDS)
    assert len(read) == 1


def test_an_index_that_has_changed_is_read_anew(folder):
    path = folder(("a.safetensors", "b.safetensors", "c.safetensors"))
    assert len(part_names(path)) == 3
    (path / INDEX).write_text(json.dumps({"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}))
    assert part_names(path) == {"a.safetensors", "b.safetensors"}


@pytest.mark.parametrize("index", [b"{", b'{"weight_map": []}', b"[" * 100_000, b" " * (limits.INDEX_BYTES + 1)])
def test_a_broken_index_is_no_reason_to_list_nothing(index, folder):
    path = folder(("x.safetensors", "y.safetensors", "block_0.safetensors"))
    assert len(part_names(path)) == 3
    (path / INDEX).write_bytes(index)
    assert part_names(path) == {"block_0.safetensors"}


def test_an_index_larger_than_any(folder):
    path = folder(SHARDS)
    with (path / INDEX).open("r+b") as file:
        file.truncate(limits.INDEX_BYTES + 1)
    with pytest.raises(CheckpointError, match=r"is 32\.0 MB large; the index of a model has at most 32\.0 MB\. Remove"):
        open_checkpoint(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
@pytest.mark.timeout(20)
def test_a_pipe_called_an_index_is_none(folder):
    path = folder(BLOCKS, index=False)
    os.mkfifo(path / INDEX)
    open_checkpoint(path)
    assert part_names(path) == set(BLOCKS)
