"""Names that are set and got, reroutes of node packs, what only a browser draws: resolved as the frontend does."""

import time

import pytest
from saved_workflows import INFO, node, subgraph, workflow

from x2v_quant.headless.graph import ALWAYS, BYPASS, NEVER
from x2v_quant.headless.workflow import WorkflowError, convert, to_prompt

LOADER = node(1, "Loader", ["a.safetensors", "auto"])


def setter(number, name="m", link=1, kind="SetNode", **more):
    return node(number, kind, [name], [("MODEL", "MODEL", link)], **more)


def getter(number, name="m", kind="GetNode", **more):
    return node(number, kind, [name], **more)


def save(link, number=9):
    return node(number, "Save", ["auto", "film"], [("model", "MODEL", link)])


def model_of(saved, number="9"):
    return to_prompt(saved, INFO)[number]["inputs"].get("model")


PAIRS = {
    "KJNodes": ("SetNode", "GetNode"),
    "Easy-Use": ("easy setNode", "easy getNode"),
    "GuliNodes": ("GG Set", "GG Get"),
    "another pack": ("Foo_TeleportSet", "Foo_TeleportGet"),
}


@pytest.mark.parametrize("pack", PAIRS)
def test_a_name_is_followed_to_what_sets_it(pack):
    sets, gets = PAIRS[pack]
    links = [(1, 1, 0, 2), (2, 3, 0, 9), (3, 4, 0, 8)]
    nodes = [setter(2, kind=sets), setter(5, "other", None, sets), getter(3, kind=gets), getter(4, kind=gets)]
    saved = workflow(LOADER, *nodes, save(2), save(3, 8), links=links)
    assert set(to_prompt(saved, INFO)) == {"1", "8", "9"}
    assert model_of(saved) == model_of(saved, "8") == ["1", 0]


@pytest.mark.parametrize(
    ("set_mode", "get_mode", "source"),
    [
        (BYPASS, ALWAYS, ["1", 0]),  # the frontend asks the node that sets for nothing but its input
        (NEVER, ALWAYS, ["1", 0]),
        (ALWAYS, BYPASS, None),  # it has no input to hand on
        (ALWAYS, NEVER, None),
    ],
)
def test_modes(set_mode, get_mode, source):
    links = [(1, 1, 0, 2), (2, 3, 0, 9)]
    saved = workflow(LOADER, setter(2, mode=set_mode), getter(3, mode=get_mode), save(2), links=links)
    assert model_of(saved) == source
    assert any("GetNode" in note for note in convert(saved, INFO).notes) == (get_mode == BYPASS)


def test_a_set_that_is_fed_by_a_reroute_and_one_by_a_get():
    reroute = node(4, "Reroute", inputs=[("", "*", 1)], outputs=["*"])
    saved = workflow(
        *(LOADER, reroute, setter(2, link=2), getter(3), setter(5, "n", 3), getter(6, "n"), save(4)),
        links=[(1, 1, 0, 4), (2, 4, 0, 2), (3, 3, 0, 5), (4, 6, 0, 9)],
    )
    assert model_of(saved) == ["1", 0]


def test_the_output_of_a_set_gives_its_input():
    assert model_of(workflow(LOADER, setter(2), save(2), links=[(1, 1, 0, 2), (2, 2, 0, 9)])) == ["1", 0]


def inner(*nodes, links, **more):
    return subgraph("inner", *nodes, links=links, **more)


def test_a_name_goes_into_subgraphs():
    inside = inner(getter(3), save(2), links=[(2, 3, 0, 9)])
    saved = workflow(LOADER, setter(2), node(5, "inner"), links=[(1, 1, 0, 2)], subgraphs=[inside])
    assert model_of(saved, "5:9") == ["1", 0]


def test_the_nearest_set_counts():
    filtered = node(4, "Filter", [1.0], [("model", "MODEL", 3)])
    inside = inner(
        *(node(1, "Loader", ["b.safetensors"]), setter(2), getter(3), save(2)),
        links=[(1, 1, 0, 2), (2, 3, 0, 9)],
    )
    nodes = [LOADER, setter(2), getter(3), filtered, save(4), node(5, "inner")]
    saved = workflow(*nodes, links=[(1, 1, 0, 2), (3, 3, 0, 4), (4, 4, 0, 9)], subgraphs=[inside])
    assert model_of(saved, "5:9") == ["5:1", 0]
    assert model_of(saved, "4") == ["1", 0]


def test_a_set_inside_is_not_seen_outside():
    inside = inner(node(1, "Loader", ["b.safetensors"]), setter(2), links=[(1, 1, 0, 2)])
    saved = workflow(getter(3), save(2), node(5, "inner"), links=[(2, 3, 0, 9)], subgraphs=[inside])
    with pytest.raises(WorkflowError, match=r"node 3 \(GetNode\) gets 'm', which no node around it sets"):
        to_prompt(saved, INFO)


def test_a_set_without_an_input_gives_nothing():
    assert model_of(workflow(setter(2, link=None), getter(3), save(2), links=[(2, 3, 0, 9)])) is None


@pytest.mark.parametrize(
    ("nodes", "links"),
    [
        ([setter(2, link=2), getter(3)], [(2, 3, 0, 2), (3, 3, 0, 9)]),
        (
            [setter(2, "a", 1), getter(3, "b"), setter(4, "b", 2), getter(5, "a")],
            [(1, 3, 0, 2), (2, 5, 0, 4), (3, 3, 0, 9)],
        ),
        ([node(2, "Reroute", inputs=[("", "*", 3)], outputs=["*"])], [(3, 2, 0, 2)]),
        ([node(2, "Filter", [], [("model", "MODEL", 3)], mode=BYPASS)], [(3, 2, 0, 2)]),
    ],
    ids=["one name", "two names", "reroute", "bypass"],
)
def test_a_ring_is_refused(nodes, links):
    with pytest.raises(WorkflowError, match=r"node \d \(\w+\) is fed by itself"):
        to_prompt(workflow(*nodes, save(3), links=links), INFO)


def test_nodes_that_wait_for_each_other_are_refused():
    filters = [node(n, "Filter", [1.0], [("model", "MODEL", n)]) for n in (2, 3)]
    with pytest.raises(WorkflowError, match=r"nodes [23] \(Filter\), [23] \(Filter\) wait for each other"):
        to_prompt(workflow(*filters, save(3), links=[(2, 3, 0, 2), (3, 2, 0, 3)]), INFO)


@pytest.mark.parametrize("kind", ["Reroute", "Reroute (rgthree)", "GG Reroute"])
@pytest.mark.parametrize("many", [1, 3000])
def test_reroutes_of_node_packs(kind, many):
    reroutes = [node(n, kind, inputs=[("", "*", n - 1)], outputs=["*"]) for n in range(10, 10 + many)]
    links = [(9, 1, 0, 10), *((n, n, 0, n + 1) for n in range(10, 10 + many))]
    saved = workflow(LOADER, *reroutes, save(9 + many), links=links)
    assert model_of(saved) == ["1", 0]
    assert set(to_prompt(saved, INFO)) == {"1", "9"}


ANY = [("", "*", 1), ("", "*", None)]
DECORATION = {
    "bookmark": node(7, "Bookmark (rgthree)", ["1", 1], outputs=()),
    "label": node(7, "Label (rgthree)", outputs=()),
    "muter of groups": node(7, "Fast Groups Muter (rgthree)", outputs=["*"]),
    "muter with links": node(7, "Fast Muter (rgthree)", [True], ANY, outputs=["*"]),
    "of any pack": node(7, "Frame Title", ["text"], outputs=()),
    "of any pack with links": node(7, "Node Switch", [True], ANY, outputs=["*"]),
}


@pytest.mark.parametrize("name", DECORATION)
def test_decoration_is_left_out(name):
    saved = workflow(LOADER, DECORATION[name], save(2), links=[(1, 1, 0, 7), (2, 1, 0, 9)])
    converted = convert(saved, INFO)
    assert set(converted.prompt) == {"1", "9"}
    assert bool(converted.notes) == ("of any pack" in name)


def test_decoration_may_be_linked_to_decoration():
    muter = node(7, "Node Switch", [True], ANY, outputs=["*"])
    relay = node(8, "Other Switch", [], [("", "*", 3)], outputs=["*"])
    saved = workflow(LOADER, muter, relay, save(2), links=[(1, 1, 0, 7), (2, 1, 0, 9), (3, 7, 0, 8)])
    assert set(to_prompt(saved, INFO)) == {"1", "9"}


@pytest.mark.parametrize(
    ("unknown", "links"),
    [
        (node(7, "Gone"), [(2, 7, 0, 9)]),
        (node(7, "Saver of Videos", [], [("model", "MODEL", 3)], outputs=()), [(2, 1, 0, 9), (3, 1, 0, 7)]),
        (node(7, "Get Something", [4]), [(2, 7, 0, 9)]),
        (node(7, "Set Model", ["x"], [("model", "MODEL", 3)]), [(2, 7, 0, 9), (3, 1, 0, 7)]),
    ],
    ids=["gives", "takes a model", "gets no name", "sets what nobody gets"],
)
def test_an_unknown_node_that_counts_is_named(unknown, links):
    with pytest.raises(
        WorkflowError, match=rf"node 7 is a {unknown['type']}, unknown to this server: install its node"
    ):
        to_prompt(workflow(LOADER, unknown, save(2), links=links), INFO)


def test_a_set_by_its_name_is_one_whatever_its_slots():
    """KJNodes asks for no more."""
    more = {**setter(2), "inputs": [*setter(2)["inputs"], {"name": "*", "type": "*", "link": None}]}
    saved = workflow(
        LOADER, {**more, "outputs": [{"type": "*"}] * 3}, getter(3), save(2), links=[(1, 1, 0, 2), (2, 3, 0, 9)]
    )
    assert model_of(saved) == ["1", 0]


@pytest.mark.parametrize("name", ["\u6a21\u578b \U0001f680", "a'b\"c", 5])
def test_names_of_any_kind(name):
    saved = workflow(LOADER, setter(2, name), getter(3, name), save(2), links=[(1, 1, 0, 2), (2, 3, 0, 9)])
    assert model_of(saved) == ["1", 0]


def test_a_name_in_another_case_is_suggested():
    inside = inner(getter(3, "Model "), save(2), links=[(2, 3, 0, 9)])
    saved = workflow(LOADER, setter(2, "model"), node(5, "inner"), links=[(1, 1, 0, 2)], subgraphs=[inside])
    with pytest.raises(WorkflowError, match=r"node 5:3 \(GetNode\) gets 'Model ', .* Did you mean 'model'\?"):
        to_prompt(saved, INFO)


@pytest.mark.parametrize("values", [[], [""], [None]])
def test_a_get_without_a_name_is_refused(values):
    saved = workflow(
        LOADER, setter(2, ""), {**getter(3), "widgets_values": values}, save(2), links=[(1, 1, 0, 2), (2, 3, 0, 9)]
    )
    with pytest.raises(WorkflowError, match=r"node 3 \(GetNode\) gets no name: choose one in the browser, or remove"):
        to_prompt(saved, INFO)


@pytest.mark.parametrize("sign", [">", "/"])
def test_group_nodes_are_refused_with_what_to_do(sign):
    group = node(7, f"workflow{sign}my group", [1], outputs=["MODEL"])
    with pytest.raises(
        WorkflowError, match=r"node 7 is the group node my group, .*which converts it to a subgraph, and"
    ):
        to_prompt({**workflow(group, save(2), links=[(2, 7, 0, 9)]), "extra": {"groupNodes": {"my group": {}}}}, INFO)


def test_a_subgraph_that_is_not_in_the_file_is_named():
    with pytest.raises(WorkflowError, match="node 7 is a subgraph that this file does not contain"):
        to_prompt(workflow(node(7, "0a1b2c3d-0000-4000-8000-0123456789ab"), save(2), links=[(2, 7, 0, 9)]), INFO)


def test_long_names_are_not_compared():
    saved = workflow(setter(2, "ab" * 100_000), getter(3, "ba" * 100_000), save(2), links=[(2, 3, 0, 9)])
    started = time.process_time()
    with pytest.raises(WorkflowError, match="which no node around it sets"):
        to_prompt(saved, INFO)
    assert time.process_time() - started < 1
