"""Small files that would become large, and large ones of many small things: time and memory stay those of the file."""

import json
import struct
import time
import tracemalloc
import zlib

import pytest

from x2v_quant.common import limits
from x2v_quant.headless import carried
from x2v_quant.headless.reading import read_workflow, unwrapped
from x2v_quant.headless.workflow import WorkflowError

PROMPT = {"1": {"class_type": "Save", "inputs": {}}}
PACKED = zlib.compress(b"[" * 20_000_000, 9)
WAYS = {
    b"zTXt": lambda key: key + b"\0\0" + PACKED,
    b"iTXt": lambda key: key + b"\0\1\0\0\0" + PACKED,
}


def png(*chunks):
    parts = [struct.pack(">I", len(data)) + kind + data + bytes(4) for kind, data in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def read(tmp_path, content):
    """(what it is, seconds, most bytes in between)"""
    path = tmp_path / "file"
    path.write_bytes(content)
    tracemalloc.start()
    began = time.process_time()
    try:
        found = read_workflow(path).prompt
    except WorkflowError as error:
        found = str(error)
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return found, time.process_time() - began, most


@pytest.mark.parametrize("kind", WAYS)
def test_a_text_that_inflates_is_refused(kind, tmp_path):
    found, seconds, most = read(tmp_path, png((kind, WAYS[kind](b"workflow"))))
    assert f"is a damaged picture (a text in it grows to more than {limits.INFLATION} times its size)" in found
    assert seconds < 1 and most < 10_000_000


@pytest.mark.parametrize("kind", WAYS)
@pytest.mark.parametrize("key", [b"other", b"prompt"])
def test_what_is_not_needed_is_not_inflated(kind, key, tmp_path):
    """Texts under other names, and second ones under the same."""
    many = [(kind, WAYS[kind](key))] * 50
    found, seconds, most = read(tmp_path, png((b"tEXt", b"prompt\0" + json.dumps(PROMPT).encode()), *many))
    assert found == PROMPT and seconds < 1 and most < 10_000_000


def test_a_text_that_is_packed_as_texts_are(tmp_path):
    packed = zlib.compress(json.dumps(PROMPT | {"note": {"text": "a long note " * 200}}).encode(), 9)
    assert read(tmp_path, png((b"zTXt", b"prompt\0\0" + packed)))[0]["1"] == PROMPT["1"]


@pytest.mark.parametrize("inner", [{"prompt": {}}, {"a": {"prompt": {}}}, {"workflow": "{}"}])
def test_a_list_of_many_wrappers(inner):
    """300,000 took 16 seconds."""
    began = time.process_time()
    assert unwrapped([inner] * 100_000, "x") is None
    assert time.process_time() - began < 1.5


def test_a_machine_without_memory_is_no_damage(tmp_path, monkeypatch):
    def full(path):
        raise MemoryError

    monkeypatch.setitem(carried.READERS, "png", full)
    with pytest.raises(MemoryError):
        read(tmp_path, png())
