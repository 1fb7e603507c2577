"""What a file says of its making: read back as it was written, and harmless whatever somebody has put there."""

import json

import pytest

from x2v_quant.common import limits
from x2v_quant.rounding import METHODS
from x2v_quant.rounding.record import KEY, WORDS, Record


def test_every_method_has_words():
    assert WORDS.keys() == METHODS.keys()


def of(names, format_name, method):
    return dict.fromkeys(names, (format_name, METHODS[method]))


Q, FFN = [f"blocks.{number}.self_attn.q" for number in range(3)], [f"blocks.{number}.ffn.0" for number in (0, 2)]


def test_it_is_read_as_it_was_written():
    layers = of(Q, "int8-channel", "gptq") | of(["head"], "int4-g128", "nearest")
    record = Record.of(layers, smoothed=Q[:2], calls=40, tokens=2048, scales=["float32", "bfloat16", "float32"])
    assert Record.read(record.metadata()) == Record.read({"other": "1", **record.metadata()}) == record
    assert (record.methods, record.smoothed, record.calls, record.tokens) == ({"gptq": 3, "nearest": 1}, 2, 40, 2048)
    assert record.scales == ("bfloat16", "float32") and record.version
    assert record.lines() == [
        "rounded with GPTQ: 3 layers, to the nearest: 1 layer",
        "with GPTQ: blocks.0-2.self_attn.q",
        "to the nearest: head",
        "before that smoothed: 2 layers",
        "calibrated with 40 calls of the model, up to 2048 inputs of a layer",
    ]


@pytest.mark.parametrize(
    "method,smoothed,said",
    [("nearest", [], (0, 0)), ("mse", [], (0, 0)), ("mse", Q[:1], (40, 0)), ("weighted", [], (40, 0))],
)
def test_only_what_was_done_by_a_calibration_is_calibrated(method, smoothed, said):
    record = Record.of(of(Q, "int4-g128", method), smoothed, calls=40, tokens=2048)
    assert (record.calls, record.tokens) == said


def test_layers_that_stay_keep_what_was_done_to_them():
    first = Record.of(of([*Q, *FFN], "int8-channel", "gptq"), calls=7, tokens=512)
    later = Record.of(of([name.replace("ffn.0", "up") for name in FFN], "int4-g128-convrot", "mse"))
    found = first.followed_by(later, {name: (f"new.{name}", "int8-channel") for name in Q}, all_kept=False)
    assert (found.methods, found.layers) == ({"mse": 2}, {"mse": ("blocks.0,2.up",)})
    assert found.rotation == {"256": 2} and found.calls == 0
    (earlier,) = found.earlier
    assert (earlier.methods, earlier.layers) == ({"gptq": 3}, {"gptq": ("new.blocks.0-2.self_attn.q",)})
    assert (earlier.calls, earlier.tokens, earlier.rotation) == (7, 512, {})
    assert Record.read(found.metadata()) == found
    assert found.lines() == [
        "rounded with searched scales: 2 layers",
        "with searched scales: blocks.0,2.up",
        "before that rotated in groups of 256: 2 layers",
        "in an earlier conversion rounded with GPTQ: 3 layers",
        "in an earlier conversion with GPTQ: new.blocks.0-2.self_attn.q",
        "in an earlier conversion calibrated with 7 calls of the model, up to 512 inputs of a layer",
    ]
    # a third conversion of the layers of the second leaves only those of the first
    third = Record.of(of([f"blocks.{number}.up" for number in (0, 2)], "fp8-channel", "nearest"))
    again = found.followed_by(third, {f"new.{name}": (name, "int8-channel") for name in Q}, all_kept=False)
    assert again.methods == {"nearest": 2} and [each.methods for each in again.earlier] == [{"gptq": 3}]


def test_what_has_no_names_is_only_known_of_all():
    """As the first version wrote it."""
    old = Record.read({KEY: json.dumps({"methods": {"gptq": 2, "nearest": 3}})})
    kept = {"blocks.0.ffn.0": ("blocks.0.ffn.0", "int8-channel")}
    assert old.followed_by(Record(), kept, all_kept=True).methods == {"gptq": 2, "nearest": 3}
    later = Record.of(of(Q, "int8-channel", "nearest"))
    assert old.followed_by(later, kept, all_kept=False) == later


def test_nothing_rounded_is_nothing_said():
    assert Record.of({}).metadata() == {}
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
    layers = {"gptq": ["a\nb", {}, *["c" * 3000] * 1000], "x": 7}
    said = {"version": 7, "methods": methods, "rotation": {"256": True}, "scales": ["a\nb", 5], "tokens": "many"}
    said |= {"earlier": [{"methods": {"gptq": 1}, "earlier": [[]]}, [], 3] * 9}
    found = Record.said({**said, "layers": layers})
    assert Record.read({KEY: json.dumps({**said, "layers": layers})}) is None and Record.read({KEY: json.dumps(said)})
    assert len(found.layers["gptq"]) == limits.RECORD_LAYERS and max(map(len, found.layers["gptq"])) == limits.KEY_CHARS
    assert found.layers["gptq"][:2] == ("a\\nb", "") and found.layers["x"] == ()
    assert [each.methods for each in found.earlier] == [{"gptq": 1}] * 6
    assert len(found.methods) == limits.RECORD_ENTRIES
    assert all(name.isprintable() and len(name) <= 70 for name in found.methods)
    assert (found.version, found.rotation, found.tokens) == ("", {}, 0)
    assert found.scales == ("a\\nb", "")
    assert all(line.isprintable() for line in found.lines())
