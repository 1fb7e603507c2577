"""What --set says is read as the node's schema has it, and refused in words that name the setting."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from x2v_quant.headless.settings import read_setting
from x2v_quant.headless.workflow import WorkflowError

INFO = json.loads((Path(__file__).parent / "object_info.json").read_text())
PROMPT = {
    "3": {"class_type": "Loader", "inputs": {"name": "a.safetensors"}, "_meta": {"title": "Wan 2.1 Loader"}},
    "4": {"class_type": "Sampler", "inputs": {"unlisted": 1}},
    "5": {"class_type": "Save", "inputs": {"codec": "auto"}},
    "6": {"class_type": "Image", "inputs": {}},
    "7": {"class_type": "Filter", "inputs": {}},
}


def read(text):
    return read_setting(text, PROMPT, INFO)


@pytest.mark.parametrize(
    ("text", "node", "name", "value"),
    [
        ("Sampler.steps=4", "4", "steps", 4),
        ("4.cfg=4", "4", "cfg", 4.0),
        ("4.cfg=1e-3", "4", "cfg", 0.001),
        ("4.kind=heun", "4", "kind", "heun"),
        ("Wan 2.1 Loader.name=b.safetensors", "3", "name", "b.safetensors"),
        ("3.strict=No", "3", "strict", False),
        ("3.strict=1", "3", "strict", True),
        ('3.scheme=["9", 0]', "3", "scheme", ["9", 0]),
        ("5.prefix=7", "5", "prefix", "7"),  # text stays text
        ("5.prefix=a=b", "5", "prefix", "a=b"),
        ("5.codec=h264", "5", "codec", "h264"),
        ("5.codec.crf=18", "5", "codec.crf", 18.0),  # the prompt does not have it yet
        ("5.codec.mode.passes=3", "5", "codec.mode.passes", 3),
        ("4.unlisted=[1, 2]", "4", "unlisted", [1, 2]),  # in the prompt, not in the schema: JSON
        ("4.unlisted=words", "4", "unlisted", "words"),
    ],
)
def test_value(text, node, name, value):
    setting = read(text)
    assert (setting.node, setting.input, setting.value) == (node, name, value)
    assert type(setting.value) is type(value)


@pytest.mark.parametrize(("text", "uploads"), [("6.image=x.png", True), ("6.crop=true", False), ("3.name=x", False)])
def test_which_inputs_upload(text, uploads):
    assert read(text).uploads is uploads


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3.steps", r"'3\.steps' is not NODE\.INPUT=VALUE"),
        ("steps=3", r"'steps=3' is not NODE\.INPUT=VALUE"),
        ("4.steps=many", r"4\.steps=many: the input takes a whole number"),
        ("4.steps=1.5", "takes a whole number"),
        ("4.cfg=high", "takes a number"),
        ("4.cfg=inf", "takes a number"),  # JSON has none of both
        ("4.cfg=nan", "takes a number"),
        ("3.strict=maybe", "takes true or false"),
        ("7.model=loader", r'takes a link, \["NODE ID", OUTPUT NUMBER\]'),
        ("4.stepz=3", r"a Sampler has no input 'stepz', only .*Did you mean 'steps'\?"),
        ("Samplr.steps=3", r"no node of this workflow.*Did you mean 'Sampler'\?"),
        ("wan 2.1 loader.name=x", r"no node of this workflow.*Did you mean 'Wan 2.1 Loader'\?"),
    ],
)
def test_refused(text, message):
    with pytest.raises(WorkflowError, match=message):
        read(text)


@given(st.integers())
def test_every_whole_number_is_read(number):
    assert read(f"4.seed={number}").value == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_is_read(number):
    assert read(f"4.cfg={number!r}").value == number


@given(st.text())
def test_every_text_is_read(text):
    assert read(f"5.prefix={text}").value == text
