"""Graphs that a hand or a program has damaged: a sentence with the node's name, at once, whatever is wrong."""

import copy
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_workflows import INFO, node, subgraph, workflow

from x2v_quant.common import limits
from x2v_quant.headless.graph import BYPASS
from x2v_quant.headless.swap import swap
from x2v_quant.headless.workflow import WorkflowError, to_prompt

SECONDS = 1.0
LOADER = node(1, "Loader", ["a.safetensors", "auto"])


def save(link=2, number=9):
    return node(number, "Save", ["auto", "film"], [("model", "MODEL", link)])


def saved(*middle, links):
    return workflow(LOADER, *middle, save(), links=links)


def between(kind, **more):
    """Loader -> a node of that kind, number 2 -> Save. more: keys of the node as they lie in the file."""
    links = [(1, 1, 0, 2), (2, 2, 0, 9)]
    return saved({**node(2, kind, inputs=[("", "*", 1)]), **more}, links=links)


def with_links(*links):
    return {**saved(links=[]), "links": list(links)}


GOOD = [2, 1, 0, 9, 0, "MODEL"]
DAMAGED = {
    "null among the links": (with_links(None, GOOD), r"link 0 of the workflow has no id"),
    "null in a link": (
        with_links([2, None, 0, 9, 0, "MODEL"]),
        r"link 0 of the workflow, which is to end at node 9 \(Save\)",
    ),
    "a link without a slot": (
        with_links([2, 1, None, 9, 0, "MODEL"]),
        r"end at node 9 \(Save\), has no id, no origin or no",
    ),
    "a short link": (with_links([2, 1]), r"link 0 of the workflow has no"),
    "inputs: null": (between("Filter", inputs=None), r"node 2 \(Filter\) has null in place of its list of inputs"),
    "inputs: an object": (
        between("Filter", inputs={}),
        r"node 2 \(Filter\) has an object in place of its list of inputs",
    ),
    "a text among the inputs": (between("Filter", inputs=["model"]), r"node 2 \(Filter\) has a text among its inputs"),
    "an input without a name": (
        between("Filter", inputs=[{"link": 1}]),
        r"node 2 \(Filter\) has an input without a name",
    ),
    "a list as a link": (
        between("Filter", inputs=[{"name": "model", "link": [1]}]),
        r"node 2 \(Filter\) has a list as the",
    ),
    "outputs: null": (between("Filter", outputs=None), r"node 2 \(Filter\) has null in place of its list of outputs"),
    "a mode": (between("Filter", mode="muted"), r"node 2 \(Filter\) has mode 'muted', which is none"),
    "values": (between("Filter", widgets_values=5), r"node 2 \(Filter\) has a number in place of its widgets' values"),
    "properties": (between("Filter", properties=[]), r"node 2 \(Filter\) has a list as its properties"),
    "a primitive without values": (between("PrimitiveNode", inputs=[]), r"node 2 \(PrimitiveNode\) has no value"),
    "a reroute without inputs": (between("Reroute", inputs=[]), r"node 2 \(Reroute\) has no input"),
    "a bypassed node without outputs": (
        between("Filter", outputs=[], mode=BYPASS),
        r"a link begins at output 0 of node 2 \(Filter\), which has none",
    ),
    "a node of null": (saved(None, links=[]), r"entry 1 among the nodes of the workflow is no node"),
    "a node without an id": (saved({"type": "Filter"}, links=[]), r"entry 1 among the nodes of the workflow has no id"),
    "a node without a type": (saved({"id": 4}, links=[]), r"node 4 of the workflow has no type"),
    "one id twice": (saved(node(9, "Filter"), links=[]), r"several nodes with the id 9"),
    "a link from outside of no subgraph": (
        with_links([2, -10, 0, 9, 0, "*"]),
        r"input 0 of the workflow, which has none",
    ),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_it_is_refused_by_name(name):
    graph, said = DAMAGED[name]
    with pytest.raises(WorkflowError, match=said) as caught:
        to_prompt(graph, INFO)
    assert str(caught.value).isprintable()


def test_what_the_frontend_leaves_out_is_no_damage():
    bare = {"id": 2, "type": "Filter", "widgets_values": None, "properties": None, "mode": None, "title": None}
    graph = {**saved(bare, links=[]), "extra": None, "definitions": None}
    assert to_prompt(graph, INFO)["2"] == {
        "class_type": "Filter",
        "inputs": {"strength": 1.0},
        "_meta": {"title": "Filter"},
    }


def inside(name, *types):
    return subgraph(name, *(node(number, kind) for number, kind in enumerate(types, 1)))


@pytest.mark.parametrize(
    "graphs", [[inside("a", "a")], [inside("a", "b"), inside("b", "Loader", "a")]], ids=["in itself", "in a ring"]
)
def test_a_subgraph_inside_itself(graphs):
    with pytest.raises(WorkflowError, match=r"node 5:[\d:]+ \(a\) is the subgraph a inside itself"):
        to_prompt(workflow(node(5, "a"), subgraphs=graphs), INFO)


def test_ten_to_the_sixth_nodes_in_a_small_file():
    graphs = [inside(f"g{depth}", *[f"g{depth + 1}"] * 10) for depth in range(6)]
    started = time.process_time()
    with pytest.raises(WorkflowError, match=f"more than {limits.GRAPH_NODES} nodes"):
        to_prompt(workflow(node(1, "g0"), subgraphs=[*graphs, inside("g6", *["Loader"] * 10)]), INFO)
    assert time.process_time() - started < SECONDS


def test_subgraphs_far_inside_each_other():
    graphs = [inside(f"g{depth}", f"g{depth + 1}") for depth in range(limits.GRAPH_DEPTH + 1)]
    with pytest.raises(WorkflowError, match=f"more than {limits.GRAPH_DEPTH} deep"):
        to_prompt(workflow(node(1, "g0"), subgraphs=[*graphs, inside(f"g{len(graphs)}", "Loader")]), INFO)


INNER = subgraph(
    "inner",
    node(1, "Filter", [0.5], [("model", "MODEL", 11), ("strength", "FLOAT", 12)]),
    node(2, "GetNode", ["m"]),
    node(3, "UNETLoader", ["wan.safetensors", "default"], [("weight_dtype", "COMBO", None)], mode=BYPASS),
    links=[(11, -10, 0, 1), (12, -10, 1, 1), (13, 1, 0, -20)],
    inputs=[("model", "MODEL", [11]), ("strength", "FLOAT", [12])],
    outputs=[("MODEL", "MODEL", [13])],
)
WHOLE = workflow(
    LOADER,
    node(2, "Reroute", inputs=[("", "*", 1)], outputs=["*"]),
    node(3, "inner", [0.7], [("model", "MODEL", 2)], properties={"proxyWidgets": [["1", "strength"]]}),
    node(4, "SetNode", ["m"], [("MODEL", "MODEL", 3)]),
    node(5, "GetNode", ["m"]),
    node(6, "Filter", [0.5], [("mask", "MASK", None), ("model", "MODEL", 4)], mode=BYPASS),
    node(7, "PrimitiveNode", [3, "fixed"], outputs=["FLOAT"]),
    node(8, "Sampler", [5, "fixed", 6, "fixed", 30, 2.5, "heun"], [("model", "MODEL", 5), ("cfg", "FLOAT", 6)]),
    node(9, "Save", ["auto", "film"], [("model", "MODEL", 7)]),
    node(10, "Anything Everywhere", [], [("MODEL", "MODEL", 8)], outputs=()),
    links=[
        (1, 1, 0, 2),
        (2, 2, 0, 3),
        (3, 3, 0, 4),
        (4, 5, 0, 6),
        (5, 6, 0, 8),
        (6, 7, 0, 8),
        (7, 6, 0, 9),
        (8, 1, 0, 10),
    ],
    subgraphs=[INNER],
)
WHOLE["extra"] = {
    "ue_links": [{"downstream": 6, "downstream_slot": 0, "upstream": "1", "upstream_slot": 0, "type": "*"}]
}
ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(-30, 30), st.floats(allow_nan=False), st.text(max_size=3), st.just("inner"),
    st.just([]), st.just({}), st.just([[None]]), st.just(["1", 0]), st.just({"id": 1}),
)  # fmt: skip


def places(value, path=()):
    """Every place inside a JSON value."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*path, key))


PLACES = list(places(WHOLE))


def test_the_whole_one_is_sound():
    prompt = to_prompt(WHOLE, INFO)
    assert prompt["8"]["inputs"]["model"] == ["3:1", 0]
    assert prompt["8"]["inputs"]["cfg"] == 3
    assert prompt["3:1"]["inputs"] == {"strength": 0.7, "model": ["1", 0]}


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(PLACES), st.sampled_from(["drop", "set", "double"]), ANYTHING), min_size=1, max_size=4
    )
)
def test_damage_of_any_kind(damage):
    graph = copy.deepcopy(WHOLE)
    for path, what, value in damage:
        at = graph
        try:
            for key in path[:-1]:
                at = at[key]
            if what == "drop":
                del at[path[-1]]
            elif what == "set":
                at[path[-1]] = value
            else:
                at[path[-1]] = [at[path[-1]], at[path[-1]]]
        except (KeyError, IndexError, TypeError):
            continue  # it lies in what is gone already
    started = time.process_time()
    try:
        swap(graph, {"a": "b"})
        to_prompt(graph, INFO)
    except WorkflowError as error:
        assert str(error)
    assert time.process_time() - started < SECONDS
