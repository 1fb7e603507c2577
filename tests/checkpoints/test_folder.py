"""Models in several files."""

import os
import time
from pathlib import Path

import pytest
import torch
from sharded import BIN, BLOCKS, CKPT, INDEX, PT, SHARDS, split

from x2v_quant.checkpoints import CheckpointError, open_checkpoint, part_names


@pytest.mark.parametrize(
    "files,index",
    [(SHARDS, True), (BIN, True), (PT, True), (BLOCKS, True), (BLOCKS, False), (SHARDS[:1], False), (BIN[:1], False)],
)
def test_a_model_in_several_files_is_one_checkpoint(files, index, folder, wan, write):
    if len(files) == 1:
        files = (f"only{Path(files[0]).suffix}",)
    checkpoint = open_checkpoint(folder(files, index))
    checkpoint.require("dit")
    assert {file.name for file in checkpoint.files} == set(files)
    assert set(checkpoint.tensors) == set(wan())
    single = open_checkpoint(write(wan())).load()
    weights = checkpoint.load()
    assert weights.plain.keys() == single.plain.keys()
    for name, stored in single.quantized.items():
        assert torch.equal(weights.quantized[name].tensors["codes"], stored.tensors["codes"])
        assert torch.equal(weights.quantized[name].tensors["scale"], stored.tensors["scale"])


@pytest.mark.parametrize(
    "files",
    [SHARDS, BIN, PT, BLOCKS, ("a_part1.safetensors", "a_part2.safetensors"), ("x.safetensors", "y.safetensors")],
)
def test_one_part_is_refused_with_the_folder_as_remedy(files, folder):
    path = folder(files)
    for name in files:
        with pytest.raises(
            CheckpointError, match=r"only a part of a model\. Choose the folder wan/, or give the parts one"
        ):
            open_checkpoint(path / name)


def test_a_model_in_one_shard_is_whole(folder):
    open_checkpoint(folder(("model-00001-of-00001.safetensors",), index=False) / "model-00001-of-00001.safetensors")


@pytest.mark.parametrize("missing", BLOCKS[:1] + BLOCKS[2:])
def test_a_missing_block_is_refused(missing, folder):
    path = folder(BLOCKS, index=False)
    (path / missing).unlink()
    with pytest.raises(CheckpointError, match=f"wan lacks {missing}"):
        open_checkpoint(path)


def test_a_missing_shard_is_refused(folder):
    path = folder(SHARDS)
    (path / SHARDS[1]).unlink()
    with pytest.raises(CheckpointError, match=f"names {SHARDS[1]}, which is not there. Download {SHARDS[1]} into wan/"):
        open_checkpoint(path)


@pytest.mark.parametrize("files", [SHARDS, BIN, PT, CKPT])
def test_numbered_shards_need_no_index(files, folder, wan, write):
    checkpoint = open_checkpoint(folder(files, index=False))
    checkpoint.require("dit")
    assert [file.name for file in checkpoint.files] == list(files)
    assert checkpoint.tensors.keys() == open_checkpoint(write(wan())).tensors.keys()


@pytest.mark.parametrize("files", [SHARDS, BIN])
@pytest.mark.parametrize("missing", [0, 1])
def test_a_numbered_shard_that_is_missing_is_named(files, missing, folder):
    path = folder(files, index=False)
    (path / files[missing]).unlink()
    with pytest.raises(CheckpointError, match=f"wan lacks {files[missing]}. Download {files[missing]} into it"):
        open_checkpoint(path)


def test_of_two_editions_without_an_index_the_safetensors_are_read(folder):
    path = folder(SHARDS, index=False)
    folder(BIN, index=False)
    checkpoint = open_checkpoint(path)
    assert [file.name for file in checkpoint.files] == list(SHARDS)
    assert checkpoint.notes == [f"{', '.join(BIN)}: not read"]


def test_numbered_shards_of_two_models_are_refused(folder, write):
    path = folder(SHARDS, index=False)
    write({"x": torch.zeros(1)}, "wan/other-00001-of-00003.safetensors")
    with pytest.raises(CheckpointError, match="has more than one model"):
        open_checkpoint(path)


def test_parts_without_their_index_are_refused(folder):
    """Nothing tells how many there are."""
    with pytest.raises(CheckpointError, match=r"without their index\. Put the model's \*\.safetensors\.index\.json"):
        open_checkpoint(folder(("x_part1.safetensors", "x_part2.safetensors"), index=False))


@pytest.mark.parametrize(
    "content,words",
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
            "is a Git LFS pointer, not the model",
        ),
        (b"<!DOCTYPE html><html><body>404</body></html>", "is a web page, not a model"),
        (b"", "is empty"),
    ],
)
def test_a_shard_of_pytorch_that_is_none_is_refused_by_its_name(content, words, folder):
    path = folder(BIN)
    (path / BIN[1]).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{BIN[1]} {words}\. Download"):
        open_checkpoint(path)


def test_of_two_editions_of_a_model_the_safetensors_are_read(folder):
    path = folder(SHARDS)
    folder(BIN)
    checkpoint = open_checkpoint(path)
    assert {file.name for file in checkpoint.files} == set(SHARDS)
    assert checkpoint.notes == [f"{INDEX} does not name {', '.join(BIN)}: not read"]
    assert part_names(path) == {*SHARDS, *BIN}


def test_shards_of_pytorch_are_read_as_tensors_only(folder):
    path = folder(BIN)
    torch.save({"x": torch.zeros(1), "code": os.getcwd}, path / BIN[1])
    with pytest.raises(CheckpointError, match=rf"{BIN[1]} contains pickled Python objects"):
        open_checkpoint(path)


def test_two_models_in_a_folder_are_refused_by_name(wan, write, tmp_path):
    write(wan(), "wan/high.safetensors")
    write(wan(), "wan/low.pth")
    with pytest.raises(CheckpointError, match=r"more than one model: high\.safetensors, low\.pth"):
        open_checkpoint(tmp_path / "wan")


def test_blocks_with_another_model_are_refused(folder, write):
    path = folder(BLOCKS, index=False)
    write({"other": torch.zeros(1)}, "wan/t5.safetensors")
    with pytest.raises(CheckpointError, match=r"more than one model: t5\.safetensors, block_0"):
        open_checkpoint(path)


def test_the_same_tensor_in_two_files_is_refused(folder, write, wan):
    path = folder(SHARDS)
    parts = split(wan(), SHARDS)
    write({**parts[SHARDS[1]], "blocks.0.self_attn.q.bias": torch.zeros(8)}, f"wan/{SHARDS[1]}")
    with pytest.raises(CheckpointError, match=r"blocks\.0\.self_attn\.q\.bias is also in .* mixes two models"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    "content,words",
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "is a web page, not a model"),
        (None, "is cut off"),
    ],
)
def test_a_shard_that_is_none_is_refused_by_its_name(content, words, folder):
    path = folder(SHARDS)
    whole = (path / SHARDS[1]).read_bytes()
    (path / SHARDS[1]).write_bytes(whole[:-5] if content is None else content)
    with pytest.raises(CheckpointError, match=rf"{SHARDS[1]} {words}"):
        open_checkpoint(path)


@pytest.mark.parametrize(
    "name,content,words",
    [
        ("nothing", None, r"nothing is not in .+\. Check the path"),
        ("notes.txt", b"hello", "is not a model file. Models end in .safetensors"),
        ("model.gguf", b"GGUF", "ComfyUI-GGUF"),
    ],
)
def test_other_paths_are_refused(name, content, words, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(tmp_path / name)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="a folder without a model file"):
        open_checkpoint(tmp_path)


def test_brackets_in_a_name_are_only_brackets(write):
    path = write({"a_part1": torch.zeros(1)}, "x[1]_part1.safetensors")
    write({"b": torch.zeros(1)}, "x1_part2.safetensors")
    assert open_checkpoint(path).files == [path]


def test_a_number_of_a_block_may_be_any(folder, write):
    """Names of all blocks up to the highest number were 50 TB."""
    path = folder(BLOCKS, index=False)
    write({"other": torch.zeros(1)}, f"wan/block_{10**12}.safetensors")
    with pytest.raises(CheckpointError, match=r"wan lacks block_2\.safetensors"):
        open_checkpoint(path)


@pytest.mark.slow
def test_a_folder_of_many_files_is_looked_through_once(tmp_path):
    """A second for 20,000 files; each of them looked through the folder, and blocks through each other."""
    for number in range(10_000):
        (tmp_path / f"block_{number}.safetensors").touch()
        (tmp_path / f"{number}_part1.safetensors").touch()
    begun = time.process_time()
    assert len(part_names(tmp_path)) == 10_000
    with pytest.raises(CheckpointError, match="has more than one model: 0_part1"):
        open_checkpoint(tmp_path)
    assert time.process_time() - begun < 5


def test_of_a_mixed_folder_only_a_whole_file_is_proposed(folder, wan, write):
    path = folder(SHARDS, index=False)
    write(wan(), "wan/whole.safetensors")
    with pytest.raises(CheckpointError, match=r"has more than one model: .*, or choose a file like whole\.safetens"):
        open_checkpoint(path)
    open_checkpoint(path / "whole.safetensors").require("dit")
    write(wan(), "wan/x-00001-of-00003.safetensors")
    (path / "whole.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has more than one model: .*\. Give each a folder of its own\.$"):
        open_checkpoint(path)
