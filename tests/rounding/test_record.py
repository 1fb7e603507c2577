"""What a file says of its making: read back as it was written, and harmless whatever somebody has put there."""

import json

import pytest

from x2v_quant.common import limits
from x2v_quant.rounding import METHODS
from x2v_quant.rounding.record import KEY, WORDS, Record


def test_every_method_has_words():
    assert WORDS.keys() == METHODS.keys()


def test_it_is_read_as_it_was_written():
    layers = [("int8-channel", METHODS["gptq"])] * 3 + [("int4-g128", METHODS["nearest"])]
    record = Record.of(layers, smoothed=2, calls=40, tokens=2048, scales=["float32", "bfloat16", "float32"])
    assert Record.read(record.metadata()) == Record.read({"other": "1", **record.metadata()})
    found = Record.read(record.metadata())
    assert (found.methods, found.smoothed, found.calls, found.tokens) == ({"gptq": 3, "nearest": 1}, 2, 40, 2048)
    assert found.scales == ("bfloat16", "float32") and found.version
    assert found.lines() == [
        "rounded with GPTQ: 3 layers, to the nearest: 1 layer",
        "before that smoothed: 2 layers",
        "calibrated with 40 calls of the model, up to 2048 inputs of a layer",
    ]


def test_nothing_rounded_is_nothing_said():
    assert Record.of([]).metadata() == {}
    assert Record.read({}) is None


@pytest.mark.parametrize(
    "text",
    ["", "[", "[]", "7", "null", "{}", '{"methods": []}', '{"methods": {"gptq": -1}}', "[" * 4000, " " * 5000 + "{}"],
    ids=range(10),
)
def test_what_is_no_record_is_none(text):
    assert Record.read({KEY: text}) is None


def test_names_are_short_and_seen():
    methods = {f"\x1b[31m{number}" + "x" * 30: 1 for number in range(40)}
    said = {"version": 7, "methods": methods, "rotation": {"256": True}, "scales": ["a\nb", 5], "tokens": "many"}
    found = Record.read({KEY: json.dumps(said)})
    assert len(found.methods) == limits.RECORD_ENTRIES
    assert all(name.isprintable() and len(name) <= 70 for name in found.methods)
    assert (found.version, found.rotation, found.tokens) == ("", {}, 0)
    assert found.scales == ("a\\nb", "")
    assert all(line.isprintable() for line in found.lines())
