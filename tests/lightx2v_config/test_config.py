"""The JSON: today's keys, the older mm_config, and values that are not what they should be."""

import json

import pytest

from x2v_quant.lightx2v_config import ConfigError, read_config, scheme_choice

FP8_VLLM = "W-fp8-channel-sym-A-fp8-channel-sym-dynamic-Vllm"


@pytest.mark.parametrize("text", ["", "{'a': 1}", "[1]", "null", "[" * 10_000])
def test_what_is_no_table_is_refused(text):
    with pytest.raises(ConfigError, match=r"^run\.json "):
        read_config(text, "run.json")


def test_mm_config_is_understood(config):
    """LightX2V ignores it today and takes the model for an unquantized one."""
    found = config(mm_config={"mm_type": FP8_VLLM, "weight_auto_quant": False})
    assert found.quantized("dit")
    assert scheme_choice(found)[0].dit == "fp8-vllm"
    assert "mm_config" in found.notes[0]


def test_mm_config_default_is_not_quantized(config):
    assert not config(mm_config={"mm_type": "Default"}).quantized("dit")


def test_todays_key_outranks_mm_config(config):
    found = config(mm_config={"mm_type": FP8_VLLM}, dit_quantized=True, dit_quant_scheme="int8-sgl")
    assert scheme_choice(found)[0].dit == "int8-sgl"


@pytest.mark.parametrize("mm_config", [{}, [], {"mm_type": 3}])
def test_mm_config_without_a_type(config, mm_config):
    with pytest.raises(ConfigError, match="mm_config names no mm_type"):
        config(mm_config=mm_config)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ("auto", "auto", "auto")),
        ({"dit_quant_scheme": "Default", "dit_quantized": False}, ("auto", "auto", "auto")),
        ({"t5_quant_scheme": "fp8", "clip_quant_scheme": "int8"}, ("auto", "fp8-sgl", "int8-vllm")),
        # with t5_cpu_offload LightX2V knows no short names
        ({"t5_quant_scheme": "fp8", "t5_cpu_offload": True}, ("auto", "fp8-sgl", "auto")),
        ({"dit_quant_scheme": "int8-q8f", "dit_quantized": True}, ("int8-q8f", "auto", "auto")),
    ],
)
def test_schemes(config, values, expected):
    choice, notes = scheme_choice(config(**values))
    assert (choice.dit, choice.t5, choice.clip) == expected
    assert not notes


@pytest.mark.parametrize(
    ("component", "name", "reason"),
    [("dit", "int8-npu", "Ascend"), ("dit", "fp8-slg", "Unknown scheme"), ("clip", "int8-sgl", "not made for")],
)
def test_a_scheme_that_is_not_ours_becomes_auto_and_says_so(config, component, name, reason):
    choice, (note,) = scheme_choice(config(**{f"{component}_quant_scheme": name}))
    assert getattr(choice, component) == "auto"
    assert f"{component}_quant_scheme" in note
    assert reason in note


@pytest.mark.parametrize(
    ("key", "value", "kind"), [("dit_quantized", "yes", bool), ("fps", True, int), ("dit_quantized_ckpt", 5, str)]
)
def test_a_value_of_the_wrong_type_is_named(config, key, value, kind):
    with pytest.raises(ConfigError, match=rf"run\.json: {key} is {json.dumps(value)}, not "):
        config(**{key: value}).get(key, kind)


@pytest.mark.parametrize("value", ["/path/to/dit", "path to high_nvfp4.safetensors", "", None, "  "])
def test_placeholders_name_nothing(config, value):
    assert config(dit_quantized_ckpt=value).path("dit_quantized_ckpt") is None
