"""What the command line sets stands in the saved graph as well, where the graph has a place for it."""

import json

import pytest
from saved_workflows import INFO, node, subgraph, workflow

from x2v_quant.headless.set_in_graph import set_in_graph
from x2v_quant.headless.workflow import to_prompt

SAMPLER = node(1, "Sampler", [5, "fixed", 6, "fixed", 30, 2.5, "heun"])
LINKED = {**SAMPLER, "id": 2, "inputs": [{"name": "seed", "type": "INT", "link": 1, "widget": {"name": "seed"}}]}
SAVE = node(3, "Save", ["h264", 18.0, "slow", 3, "film"])
NAMED = node(4, "Loader", {"name": "a.safetensors", "precision": "auto"})
ONCE = subgraph("once", SAMPLER)
TWICE = subgraph("twice", SAMPLER)
NUMBER = node(9, "PrimitiveNode", [1], outputs=["INT"])
GRAPH = workflow(
    *(SAMPLER, LINKED, SAVE, NAMED, NUMBER, node(5, "once"), node(6, "twice"), node(7, "twice")),
    links=[(1, 9, 0, 2)],
    subgraphs=[ONCE, TWICE],
)


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("1", "seed", 77),
        ("1", "steps", 4),
        ("3", "codec.mode.passes", 9),
        ("3", "prefix", "other"),
        ("4", "precision", "fp16"),
        ("5:1", "cfg", 9.0),
    ],
)
def test_it_is_what_the_graph_gives_then(path, name, value):
    graph = json.loads(json.dumps(GRAPH))
    expected = to_prompt(graph, INFO)
    expected[path]["inputs"][name] = value
    assert set_in_graph(graph, INFO, path, name, value)
    assert to_prompt(graph, INFO) == expected


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [("2", "seed", 77), ("6:1", "seed", 77), ("1", "model", ["4", 0]), ("4", "strict", False), ("8", "seed", 1)],
    ids=["linked", "shared by instances", "a link", "never saved", "no node"],
)
def test_a_graph_without_a_place_for_it_stays(path, name, value):
    graph = json.loads(json.dumps(GRAPH))
    assert not set_in_graph(graph, INFO, path, name, value)
    assert graph == GRAPH
