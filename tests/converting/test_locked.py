"""Two that write one target: the other one is told, and what the first has written is whole."""

import json
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

# converts what each line of its input names, and says when it is done
SLOWLY = """
import json, sys, time
from pathlib import Path
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options

for line in sys.stdin:
    source, target, package = json.loads(line)
    convert(Path(source), Path(target), Options("int8-channel", package=package), lambda *_: time.sleep(0.02))
    print("done", flush=True)
"""


@pytest.fixture(scope="module")
def other():
    """Another process, which takes seconds to start: once for all tests, or after one that has killed it."""
    running = []

    def get():
        if not running or running[-1].poll() is not None:
            command = [sys.executable, "-c", SLOWLY]
            running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return running[-1]

    yield get
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def slowly(source, tmp_path, other):
    """slowly(name, package) -> the other process, which converts to it and is in the midst of writing."""

    def start(name, package):
        target, process = tmp_path / name, other()
        print(json.dumps([str(source), str(target), package]), file=process.stdin, flush=True)
        journal = beside(target, ".partial.journal")
        deadline = time.monotonic() + 120
        while not (journal.exists() and journal.read_text().count("\n") > 5):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        return process

    return start


def whole(path):
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


@pytest.mark.slow
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
    assert first.stdout.readline() == "done\n"
    written = whole(tmp_path / name)
    assert written.keys() == expected.keys()
    assert all(
        torch.equal(tensor.view(torch.uint8), written[key].view(torch.uint8)) for key, tensor in expected.items()
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["expected" + name[3:], name, "source"])


@pytest.mark.slow
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
