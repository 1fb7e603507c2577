"""Subgraphs are expanded as the frontend does it: ids, links in and out, and values that an instance shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from saved_workflows import INFO, node, subgraph, workflow

from x2v_quant.headless.graph import ALWAYS, BYPASS, NEVER
from x2v_quant.headless.workflow import WorkflowError, to_prompt


def link(number, kind="MODEL", name="model"):
    return (name, kind, number)


def widget(name, number, kind="COMBO"):
    return {"name": name, "type": kind, "link": number, "widget": {"name": name}}


def with_widgets(made, *slots):
    return {**made, "inputs": [*made["inputs"], *slots]}


# A loader and a filter; the filter's model goes out, the loader's file and the filter's strength are shown outside.
LOADER = with_widgets(node(1, "Loader", ["a.safetensors", "auto", True]), widget("name", 11))
FILTER = with_widgets(node(2, "Filter", [0.5], [link(12)]), widget("strength", 14, "FLOAT"))
LOAD = subgraph(
    "load",
    LOADER,
    FILTER,
    links=[(11, -10, 0, 1), (12, 1, 0, 2), (13, 2, 0, -20), (14, -10, 1, 2)],
    inputs=[("name", "COMBO", [11]), ("strength", "FLOAT", [14])],
    outputs=[("MODEL", "MODEL", [13])],
)


def loading(host, *more, links=()):
    """The instance `host`, id 5, before a node that saves."""
    save = node(9, "Save", ["auto", "film"], [link(1)])
    return workflow(host, *more, save, links=[(1, 5, 0, 9), *links], subgraphs=[LOAD])


def test_nodes_inside_are_named_by_their_path():
    prompt = to_prompt(loading(node(5, "load")), INFO)
    assert set(prompt) == {"5:1", "5:2", "9"}
    assert prompt["9"]["inputs"]["model"] == ["5:2", 0]
    assert prompt["5:2"]["inputs"] == {"strength": 0.5, "model": ["5:1", 0]}


def proxies(*names):
    return {"proxyWidgets": [list(name) for name in names]}


MOVED = {
    "proxyWidgetErrorQuarantine": [
        {"originalEntry": ["-1", "name"], "hostValue": "b.safetensors"},
        {"originalEntry": ["2", "control_after_generate"], "reason": "missingSubgraphInput"},
    ]
}


@pytest.mark.parametrize(
    ("values", "properties", "name", "strength", "strict"),
    [
        ([], {}, "a.safetensors", 0.5, True),
        (["b.safetensors", 0.9], {}, "b.safetensors", 0.9, True),
        ([None, 0.9], {}, "a.safetensors", 0.9, True),
        ([], proxies(("2", "strength"), ("1", "name")), "a.safetensors", 0.5, True),
        # the values come in the order of the list, whatever that of the inputs
        ([0.9, "b.safetensors"], proxies(("2", "strength"), ("1", "name")), "b.safetensors", 0.9, True),
        (["b.safetensors", 0.9], proxies(("-1", "name"), ("-1", "strength")), "b.safetensors", 0.9, True),
        # a widget that no input of the subgraph leads to; and one that is no input at all
        (
            ["b.safetensors", 0.5, False, "randomize"],
            proxies(("1", "name"), ("2", "strength"), ("1", "strict"), ("1", "control_after_generate")),
            "b.safetensors",
            0.5,
            False,
        ),
        ([], MOVED, "b.safetensors", 0.5, True),
    ],
)
def test_an_instance_sets_what_it_shows(values, properties, name, strength, strict):
    prompt = to_prompt(loading(node(5, "load", values, properties=properties)), INFO)
    assert prompt["5:1"]["inputs"] == {"name": name, "precision": "auto", "strict": strict}
    assert prompt["5:2"]["inputs"]["strength"] == strength


def test_a_link_from_outside_goes_before_the_instances_value():
    value = node(7, "PrimitiveNode", [0.7], outputs=["FLOAT"])
    host = with_widgets(node(5, "load", ["b.safetensors", 0.9]), widget("strength", 2, "FLOAT"))
    prompt = to_prompt(loading(host, value, links=[(2, 7, 0, 5)]), INFO)
    assert prompt["5:2"]["inputs"]["strength"] == 0.7
    assert prompt["5:1"]["inputs"]["name"] == "b.safetensors"


@pytest.mark.parametrize(
    ("values", "properties", "strength"),
    [([], {}, 0.2), (["fixed", 0.3], proxies(("7", "control_after_generate"), ("7", "value")), 0.3)],
)
def test_a_primitive_node_inside(values, properties, strength):
    inner = {**LOAD, "nodes": [*LOAD["nodes"], node(7, "PrimitiveNode", [0.2, "randomize"], outputs=["FLOAT"])]}
    inner["links"] = [*LOAD["links"][:3], {**LOAD["links"][3], "origin_id": 7, "origin_slot": 0}]
    inner["inputs"] = LOAD["inputs"][:1]
    saved = loading(node(5, "load", values, properties=properties))
    prompt = to_prompt({**saved, "definitions": {"subgraphs": [inner]}}, INFO)
    assert set(prompt) == {"5:1", "5:2", "9"}
    assert prompt["5:2"]["inputs"]["strength"] == strength


def test_widgets_behind_one_input_have_one_value():
    second = with_widgets(node(3, "Loader", ["b.safetensors", "fp16", True]), widget("name", 15))
    both = {**LOAD, "nodes": [*LOAD["nodes"], second]}
    both["links"] = [*LOAD["links"], {**LOAD["links"][0], "id": 15, "target_id": 3}]
    both["inputs"] = [{"name": "name", "type": "COMBO", "linkIds": [11, 15]}, LOAD["inputs"][1]]
    prompt = to_prompt({**loading(node(5, "load")), "definitions": {"subgraphs": [both]}}, INFO)
    assert [prompt[f"5:{number}"]["inputs"]["name"] for number in (1, 3)] == ["a.safetensors"] * 2


OUTER = subgraph(
    "outer",
    with_widgets(node(4, "load", ["b.safetensors", 0.9]), widget("name", 21)),
    links=[(21, -10, 0, 4), (22, 4, 0, -20)],
    inputs=[("file", "COMBO", [21])],
    outputs=[("MODEL", "MODEL", [22])],
)


@pytest.mark.parametrize(
    ("values", "properties", "name", "strength"),
    [
        ([], {}, "b.safetensors", 0.9),
        (["c.safetensors"], {}, "c.safetensors", 0.9),
        ([0.1], proxies(("4", "strength")), "b.safetensors", 0.1),
    ],
)
def test_subgraphs_in_subgraphs(values, properties, name, strength):
    saved = loading(node(5, "outer", values, properties=properties))
    saved["definitions"]["subgraphs"].append(OUTER)
    prompt = to_prompt(saved, INFO)
    assert set(prompt) == {"5:4:1", "5:4:2", "9"}
    assert prompt["9"]["inputs"]["model"] == ["5:4:2", 0]
    assert prompt["5:4:1"]["inputs"]["name"] == name
    assert prompt["5:4:2"]["inputs"]["strength"] == strength


def test_an_unknown_node_inside_is_named():
    broken = {**LOAD, "nodes": [{**LOADER, "type": "Lauder"}, FILTER]}
    saved = {**loading(node(5, "load")), "definitions": {"subgraphs": [broken]}}
    with pytest.raises(WorkflowError, match=r"node 5:1 is a Lauder, unknown to this server"):
        to_prompt(saved, INFO)


def chain(modes):
    """Loader 1 -> a filter for each mode, from 2 on -> Save: (nodes, links)."""
    filters = [
        node(number, "Filter", [1.0], [("mask", "MASK", None), link(number - 1)], mode=mode)
        for number, mode in enumerate(modes, 2)
    ]
    end = len(modes) + 2
    nodes = [node(1, "Loader", ["a.safetensors"]), *filters, node(end, "Save", ["auto", "film"], [link(end - 1)])]
    return nodes, [(number, number, 0, number + 1) for number in range(1, end)]


@given(
    modes=st.lists(st.sampled_from([ALWAYS, ALWAYS, BYPASS, NEVER]), min_size=1, max_size=6),
    data=st.data(),
)
def test_a_subgraph_around_nodes_changes_nothing(modes, data):
    nodes, links = chain(modes)
    first = data.draw(st.integers(2, len(modes) + 1))
    last = data.draw(st.integers(first, len(modes) + 1))
    inside = [made for made in nodes if first <= made["id"] <= last]
    inner = subgraph(
        "inner",
        *inside,
        links=[
            *((n, o, s, t) for n, o, s, t in links if first <= o and t <= last),
            (first - 1, -10, 0, first),
            (last, last, 0, -20),
        ],
        inputs=[("model", "MODEL", [first - 1])],
        outputs=[("MODEL", "MODEL", [last])],
    )
    host = node(100, "inner", inputs=[link(first - 1)])
    outer_links = [
        (n, 100 if o == last else o, s, 100 if t == first else t) for n, o, s, t in links if not first <= n < last
    ]
    outside = [made for made in nodes if made not in inside]
    wrapped = to_prompt(workflow(*outside, host, links=outer_links, subgraphs=[inner]), INFO)

    def plain(number):
        return number.removeprefix("100:")

    for entry in wrapped.values():
        model = entry["inputs"].get("model")
        entry["inputs"] |= {"model": [plain(model[0]), model[1]]} if model else {}
    assert {plain(number): entry for number, entry in wrapped.items()} == to_prompt(workflow(*nodes, links=links), INFO)


@pytest.mark.parametrize(
    ("mode", "wanted", "source"),
    [
        (ALWAYS, "MODEL", ["5:2", 0]),
        (BYPASS, "MODEL", ["1", 0]),
        (BYPASS, "*", None),  # the first input, whatever it is
        (NEVER, "MODEL", None),
    ],
)
def test_modes_of_an_instance(mode, wanted, source):
    """Its first input is a number that nothing is linked to and that the file leaves out."""
    inner = {**LOAD, "nodes": [FILTER | {"inputs": [*FILTER["inputs"][1:], {**FILTER["inputs"][0], "link": 11}]}]}
    inner["inputs"] = [LOAD["inputs"][1], {"name": "model", "type": "MODEL", "linkIds": [11]}]
    inner["links"] = [
        {**LOAD["links"][0], "origin_slot": 1, "target_id": 2},
        LOAD["links"][2],
        {**LOAD["links"][3], "origin_slot": 0},
    ]
    host = node(5, "load", [], [link(2)], mode=mode)
    saved = loading(host, node(1, "Loader", ["a.safetensors"]), links=[(2, 1, 0, 5)])
    saved["nodes"][-1]["inputs"][0]["type"] = wanted
    prompt = to_prompt({**saved, "definitions": {"subgraphs": [inner]}}, INFO)
    assert prompt["9"]["inputs"].get("model") == source
    assert ("5:2" in prompt) == (mode == ALWAYS)
    if mode == ALWAYS:
        assert prompt["5:2"]["inputs"]["model"] == ["1", 0]
