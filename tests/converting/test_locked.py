"""Two that write one target: the other one is told, and what the first has written is whole."""

import os
import subprocess
import sys
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from x2v_quant.benchmarks.wan import WanSize, dit
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options
from x2v_quant.writing import WriteError, beside

SLOWLY = (
    "import sys, time; from pathlib import Path; from x2v_quant.converting.convert import convert; "
    "from x2v_quant.converting.options import Options; options = Options('int8-channel', package=sys.argv[3]); "
    "convert(Path(sys.argv[1]), Path(sys.argv[2]), options, lambda *_: time.sleep(0.02))"
)


@pytest.fixture
def slowly(source, tmp_path):
    """slowly(name, package): a process that converts to it and is in the midst of writing."""
    running = []

    def start(name, package):
        target = tmp_path / name
        process = subprocess.Popen([sys.executable, "-c", SLOWLY, str(source), str(target), package])
        running.append(process)
        journal = beside(target, ".partial.journal")
        deadline = time.monotonic() + 120
        while not (journal.exists() and journal.read_text().count("\n") > 5):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


def whole(path):
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


@pytest.mark.parametrize(
    "name,package,options",
    [
        ("out.safetensors", "file", {}),
        ("out.safetensors", "file", {"overwrite": True}),
        ("out.safetensors", "file", {"resume": True}),
        ("out", "shards", {}),
        ("out", "blocks", {"resume": True}),
    ],
)
def test_the_second_is_told_and_the_first_is_whole(name, package, options, slowly, source, tmp_path, converted):
    expected = whole(converted(source, "expected" + name[3:], format="int8-channel", package=package))
    first = slowly(name, package)
    with pytest.raises(WriteError, match=r"out.* is being written by another run or server\. Wait until it is done"):
        converted(source, name, format="int8-channel", package=package, **options)
    assert not (tmp_path / name).exists()
    assert first.wait() == 0
    written = whole(tmp_path / name)
    assert written.keys() == expected.keys()
    assert all(
        torch.equal(tensor.view(torch.uint8), written[key].view(torch.uint8)) for key, tensor in expected.items()
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["expected" + name[3:], name, "source"])


def test_one_that_was_killed_keeps_nobody_from_writing(slowly, source, tmp_path, converted):
    first = slowly("out.safetensors", "file")
    first.kill()
    first.wait()
    assert len(list(tmp_path.glob("out*"))) == 3
    expected = converted(source, "expected.safetensors", format="int8-channel").read_bytes()
    assert converted(source, format="int8-channel").read_bytes() == expected
    assert not list(tmp_path.glob("*.partial*"))


def test_a_file_that_came_in_between_is_kept(source, tmp_path):
    """From a program that knows of no lock."""
    target = tmp_path / "out.safetensors"
    with pytest.raises(ValueError, match=r"is there already, since a moment ago\. Choose"):
        convert(source, target, Options("int8-channel"), lambda *_: target.write_bytes(b"theirs"))
    assert target.read_bytes() == b"theirs" and not list(tmp_path.glob("*.partial*"))


@pytest.mark.skipif(os.name == "nt", reason="Windows replaces no file that is open")
def test_a_file_that_is_replaced_stays_as_it_is_for_who_has_it_open(source, tmp_path, converted):
    """No byte of a mapped model ever changes: a shorter one in its place would kill the process that reads it."""
    target = tmp_path / "out.safetensors"
    size = WanSize(dim=256, ffn=1024, blocks=4, text=64)
    before, key = dit(0, size, image_to_video=False), "blocks.3.ffn.2.weight"
    save_file({name: tensor.contiguous() for name, tensor in before.items()}, target)
    with safe_open(target, framework="pt") as file:
        inode = target.stat().st_ino
        mapped = file.get_tensor(key)
        converted(source, format="int8-channel", overwrite=True)
        assert target.stat().st_ino != inode
        assert torch.equal(mapped, before[key]) and torch.equal(file.get_tensor(key), before[key])
