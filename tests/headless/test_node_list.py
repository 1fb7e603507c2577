"""Nodes that a server describes wrongly are as if they were not there."""

import json
from pathlib import Path

import pytest

from x2v_quant.headless.node_list import sound

NODES = json.loads((Path(__file__).parent / "object_info.json").read_text(encoding="utf-8"))
BRANCH = {"key": "a", "inputs": {"required": {"x": ["INT"]}}}


def node(spec):
    return {"input": {"required": {"x": spec}}, "output": []}


def dynamic(choices):
    return node(["COMFY_DYNAMICCOMBO_V3", {"options": choices}])


def test_real_ones_are_all_there():
    assert sound(NODES) == NODES


@pytest.mark.parametrize("good", [node(["INT"]), node([["a", "b"], {}]), dynamic([BRANCH]), {"input": {}}], ids=str)
def test_a_node_that_is_described_rightly(good):
    assert sound({"X": good}) == {"X": good}


@pytest.mark.parametrize(
    "bad",
    [
        *(None, [], "x", {}, {"input": None}, {"input": {"required": []}}, {"input": {}, "output": "x"}),
        *(node(spec) for spec in (None, [], "INT", [None], [{}], ["INT", []], ["INT", "x"])),
        *(
            dynamic(choices)
            for choices in (None, [], {}, ["a"], [{}], [{**BRANCH, "key": 3}], [{**BRANCH, "inputs": 1}])
        ),
        dynamic([{"key": "a", "inputs": node([])["input"]}]),
        {**node(["INT"]), "input_order": []},
        {**node(["INT"]), "input_order": {"required": ["y"]}},
        {**node(["INT"]), "input_order": {"required": [["x"]]}},
        {**node(["INT"]), "display_name": []},
    ],
    ids=str,
)
def test_a_node_that_is_not(bad):
    assert sound({"X": bad, "Y": node(["INT"])}) == {"Y": node(["INT"])}
