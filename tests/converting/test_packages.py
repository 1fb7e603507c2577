"""One file, shards with an index, a file per block."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.converting import ConvertError


def everything(folder):
    return {key: tensor for file in sorted(folder.glob("*.safetensors")) for key, tensor in load_file(file).items()}


@pytest.mark.parametrize("options", [{"package": "shards", "shard_bytes": 400_000}, {"package": "blocks"}])
def test_a_folder_holds_what_one_file_holds(options, source, converted):
    one = load_file(converted(source, "one.safetensors", format="fp8-channel"))
    folder = converted(source, "many", format="fp8-channel", **options)
    assert len(list(folder.glob("*.safetensors"))) > 2
    found = everything(folder)
    assert found.keys() == one.keys()
    for key in one:
        assert torch.equal(found[key].view(torch.uint8), one[key].view(torch.uint8)), key
    (index,) = folder.glob("*.index.json")
    table = json.loads(index.read_text())["weight_map"]
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            assert set(opened.keys()) == {key for key, name in table.items() if name == file.name}
    open_checkpoint(folder).require("dit")
    assert {path.suffix for path in folder.iterdir()} == {".safetensors", ".json"}


def test_no_shard_is_larger_than_asked(source, converted):
    folder = converted(source, "many", format="fp8-channel", package="shards", shard_bytes=400_000)
    sizes = [file.stat().st_size for file in folder.glob("*.safetensors")]
    largest = max(tensor.nbytes for tensor in load_file(converted(source, "one.safetensors", format="fp8")).values())
    assert max(sizes) < max(400_000, largest) + 10_000


def test_blocks_are_named_as_lightx2v_reads_them(source, converted):
    folder = converted(source, "many", format="fp8-channel", package="blocks")
    assert {file.name for file in folder.glob("*.safetensors")} == {
        "block_0.safetensors",
        "block_1.safetensors",
        "non_block.safetensors",
    }


def test_a_model_without_blocks_cannot_be_split_by_them(fixtures, converted):
    with pytest.raises(ConvertError, match="has no blocks"):
        converted(fixtures / "clip.safetensors", "many", format="int8-channel", package="blocks")


def test_values_begin_where_readers_look_for_them(source, converted):
    """At multiples of their size: torch refuses to look at them otherwise."""
    path = converted(source, format="nvfp4")
    length = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + length])
    assert length % 8 == 0
    sizes = {"F32": 4, "I32": 4, "BF16": 2}
    header.pop("__metadata__")
    for entry in header.values():
        assert entry["data_offsets"][0] % sizes.get(entry["dtype"], 1) == 0
