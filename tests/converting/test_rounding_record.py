"""What a file says of how its layers were rounded."""

import pytest
from older_comfyui import core_rotates_int8
from rounded_files import COUNT, record_of

from x2v_quant.checkpoints.encodings import COMFYUI, LIGHTX2V, X2V
from x2v_quant.layer_rules import parse_overrides
from x2v_quant.reports.checkpoint import inspect, lines


@core_rotates_int8
def test_inspect_says_what_was_done(source, tensors, calibration, converted):
    made = converted(source, format="int8", rotation="64", dialect=X2V, calibration=calibration, rounding="gptq")
    report = inspect(made)
    assert report["rounding"]["methods"] == {"gptq": 20} and report["rounding"]["tokens"] == COUNT
    text = "\n".join(lines(report))
    assert "rounded with GPTQ: 20 layers" in text
    assert "rotated in groups of 64: 20 layers" in text
    assert f"calibrated with 2 calls of the model, up to {COUNT} inputs of a layer" in text


def test_what_is_only_packed_otherwise_keeps_its_record(source, calibration, converted):
    first = converted(source, "a.safetensors", format="nvfp4", dialect=X2V, calibration=calibration)
    second = converted(first, "b.safetensors", dialect=COMFYUI)
    assert record_of(second) == record_of(first)


def test_layers_that_keep_their_codes_keep_their_record(source, calibration, converted):
    """In another dialect's names too, and told apart from those that are rounded now."""
    first = converted(source, "a.safetensors", format="int8", dialect=X2V, calibration=calibration, rounding="gptq")
    rules = tuple(parse_overrides("ffn.* = int4-g128"))
    second = converted(first, "b.safetensors", dialect=LIGHTX2V, overrides=rules, rounding="nearest")
    found = record_of(second)
    assert found["methods"] == {"nearest": 4} and (found["calls"], found["tokens"]) == (0, 0)
    assert found["layers"] == {"nearest": ["blocks.0-1.ffn.0", "blocks.0-1.ffn.2"]}
    (earlier,) = found["earlier"]
    assert earlier["methods"] == {"gptq": 16} and (earlier["calls"], earlier["tokens"]) == (2, COUNT)
    assert "blocks.0-1.self_attn.q" in earlier["layers"]["gptq"]
    assert not any("ffn" in name for name in earlier["layers"]["gptq"])
    assert "in an earlier conversion rounded with GPTQ: 16 layers" in lines(inspect(second))
    # none of the first record's is left
    third = converted(second, "c.safetensors", format="fp8-channel", dialect=X2V, rounding="nearest")
    assert record_of(third)["methods"] == {"nearest": 20} and record_of(third)["earlier"] == []


@pytest.mark.parametrize("rounding", ["nearest", "mse"])
def test_a_calibration_that_nothing_used_is_not_said(rounding, source, calibration, converted):
    made = converted(source, format="int4-g128", dialect=X2V, calibration=calibration, rounding=rounding)
    assert (record_of(made)["calls"], record_of(made)["tokens"]) == (0, 0)
    assert not any(line.startswith("calibrated") for line in lines(inspect(made)))


@pytest.mark.parametrize(
    "format_name,dialect,types",
    [
        ("w4a8", X2V, ["float32", "float8_e4m3fn"]),
        ("nvfp4", X2V, ["float32", "float8_e4m3fn"]),
        ("awq-w4a16", X2V, ["float32"]),
        ("int8-channel", LIGHTX2V, ["bfloat16"]),
    ],
)
def test_scales_are_what_codes_are_multiplied_by(format_name, dialect, types, source, converted):
    """Not the zero points and tables of levels beside them."""
    made = converted(source, format=format_name, dialect=dialect, rounding="nearest")
    assert record_of(made)["scales"] == types
