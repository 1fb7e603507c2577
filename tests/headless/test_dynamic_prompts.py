"""Texts with choices become what the frontend makes of them, the same ones for the same seed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from saved_workflows import node, subgraph, workflow

from x2v_quant.headless.dynamic_prompts import resolve
from x2v_quant.headless.workflow import convert

TEXT = ["STRING", {"multiline": True, "dynamicPrompts": True}]
INFO = {"Encode": {"input": {"required": {"text": TEXT, "plain": ["STRING", {}]}}}}


def first(parts):
    return parts[0]


def last(parts):
    return parts[-1]


@pytest.mark.parametrize(
    ("text", "of_first", "of_last"),
    [
        ("a {red|blue} ball", "a red ball", "a blue ball"),
        ("{a {b|c}|d {e|f}}", "a b", "d f"),
        ("{a|}", "a", ""),
        ("{}", "", ""),
        (r"\{red\|blue\}", "{red|blue}", "{red|blue}"),
        (r"{a\|b|c\}}", "a|b", "c}"),
        (r"C:\dir", r"C:\dir", r"C:\dir"),
        (r"\\{\|a|b}", r"\|a", r"\\b"),  # escapes go where a choice is made, and once more around it
        ("a // b {c|d}\ne", "a \ne", "a \ne"),
        ("a // b\r\ne", "a \r\ne", "a \r\ne"),
        ("a /* {b|c}\n */ d", "a  d", "a  d"),
        ("a /* b", "a /* b", "a /* b"),
        ("a | b } c", "a | b } c", "a | b } c"),
        ("a {b|c", "a b", "a c"),
        ("{" * 5000, "", ""),
        ("", "", ""),
    ],
)
def test_what_becomes_of_a_text(text, of_first, of_last):
    assert resolve(text, first) == of_first
    assert resolve(text, last) == of_last


@given(st.text(alphabet="ab{|}\\/* \n", max_size=30))
def test_any_text_is_resolved(text):
    assert len(resolve(text, first)) <= len(text)


def texts(seed, text="a {red|blue|green|white|black} ball"):
    saved = workflow(node(1, "Encode", [text, text]), node(2, "Encode", [text, text]))
    return convert(saved, INFO, seed)


def test_a_seed_chooses_the_same_again_and_it_is_told():
    found = texts(7)
    assert found.prompt == texts(7).prompt
    assert len({texts(seed).prompt["1"]["inputs"]["text"] for seed in range(40)}) == 5
    assert found.prompt["1"]["inputs"]["plain"] == "a {red|blue|green|white|black} ball"
    chosen = found.prompt["1"]["inputs"]["text"]
    assert found.choices["1", "text"] == f"node 1 (Encode) gets text {chosen!r} (--prompt-seed 7 chooses it again)"


def test_without_a_seed_it_is_another_one_each_time():
    assert len({texts(None).prompt["1"]["inputs"]["text"] for _ in range(60)}) == 5


def test_a_text_without_choices_is_not_told():
    assert not texts(7, "a red ball").choices
    assert texts(7, "a // b").choices["1", "text"] == "node 1 (Encode) gets text 'a '"


def test_a_text_from_outside_of_a_subgraph():
    inside = subgraph(
        "inner",
        {**node(1, "Encode", ["{x|y}", ""]), "inputs": [{"name": "text", "type": "STRING", "link": 1, "widget": {}}]},
        links=[(1, -10, 0, 1)],
        inputs=[("text", "STRING", [1])],
    )
    saved = workflow(node(5, "inner", ["{a|b}"]), subgraphs=[inside])
    assert convert(saved, INFO, 1).prompt["5:1"]["inputs"]["text"] in ("a", "b")


def test_a_prompt_has_been_resolved():
    prompt = {"1": {"class_type": "Encode", "inputs": {"text": "{a|b}"}}}
    assert convert(prompt, INFO, 1).prompt == prompt
