"""Links that cg-use-everywhere keeps beside the graph are drawn where an input is free."""

import pytest
from saved_workflows import INFO, node, subgraph, workflow

from x2v_quant.headless.graph import BYPASS
from x2v_quant.headless.workflow import WorkflowError, to_prompt

LOADER = node(1, "Loader", ["a.safetensors", "auto"])
KINDS = ("Anything Everywhere", "Anything Everywhere3", "Anything Everywhere?", "Prompts Everywhere")


def everywhere(kind=KINDS[0], link=1, **more):
    return node(5, kind, [], [("MODEL", "MODEL", link)], outputs=(), **more)


def save(link=None, number=9):
    return node(number, "Save", ["auto", "film"], [("model", "MODEL", link)])


def sent(downstream=9, slot=0, upstream="1", kind="MODEL", **more):
    ends = {"downstream": downstream, "downstream_slot": slot, "upstream": upstream, "upstream_slot": 0}
    return {**ends, "controller": 5, "type": kind, **more}


def with_links(saved, *links):
    return {**saved, "extra": {"ue_links": list(links)}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("upstream", [1, "1"])
@pytest.mark.parametrize("installed", [True, False])
def test_free_inputs_are_fed(kind, upstream, installed):
    info = {**INFO, kind: {"input": {"optional": {"anything": ["*", {}]}}}} if installed else INFO
    saved = workflow(LOADER, everywhere(kind), save(), save(number=8), links=[(1, 1, 0, 5)])
    prompt = to_prompt(with_links(saved, sent(upstream=upstream), sent(8)), info)
    assert set(prompt) == {"1", "8", "9"}
    assert prompt["9"]["inputs"]["model"] == prompt["8"]["inputs"]["model"] == ["1", 0]


@pytest.mark.parametrize(("mode", "source"), [(0, ["2", 0]), (BYPASS, ["1", 0])])
def test_a_linked_input_keeps_its_link(mode, source):
    """Not one to a node that gives nothing: the pack looks past it."""
    other = node(2, "Filter", [1.0], mode=mode)
    saved = workflow(LOADER, other, everywhere(), save(2), links=[(1, 1, 0, 5), (2, 2, 0, 9)])
    assert to_prompt(with_links(saved, sent()), INFO)["9"]["inputs"]["model"] == source


def test_what_is_sent_goes_through_reroutes():
    reroute = node(3, "Reroute", inputs=[("", "*", 3)], outputs=["*"])
    saved = workflow(LOADER, reroute, everywhere(link=4), save(), links=[(3, 1, 0, 3), (4, 3, 0, 5)])
    assert to_prompt(with_links(saved, sent(upstream="3")), INFO)["9"]["inputs"]["model"] == ["1", 0]


def test_a_widget_that_the_file_does_not_list():
    """The slot counts those of the browser: sockets first, then widgets."""
    info = {"Seeds": INFO["Sampler"], "Number": {"input": {}}}
    target = node(9, "Seeds", [5, "fixed", 6, "fixed", 30, 2.5, "heun"])
    saved = workflow(node(1, "Number", outputs=["INT"]), everywhere(), target, links=[(1, 1, 0, 5)])
    inputs = to_prompt(with_links(saved, sent(slot=3, kind="INT")), info)["9"]["inputs"]
    assert (inputs["steps"], inputs["seed"]) == (["1", 0], 5)


@pytest.mark.parametrize("installed", [True, False])
def test_a_seed_everywhere(installed):
    info = {**INFO, "Seed Everywhere": {"input": {"required": {"seed": ["INT", {}]}}}} if installed else INFO
    sampler = node(9, "Sampler", [5, "fixed", 6, "fixed", 30, 2.5, "heun"])
    saved = workflow(node(5, "Seed Everywhere", [77, "fixed"], outputs=["INT"]), sampler)
    inputs = to_prompt(with_links(saved, sent(slot=1, upstream="5", kind="INT")), info)["9"]["inputs"]
    assert inputs["seed"] == (["5", 0] if installed else 77)


def test_inside_a_subgraph():
    """From its input, and to its output."""
    inner = subgraph(
        "inner",
        everywhere(link=1),
        save(),
        links=[(1, -10, 0, 5)],
        inputs=[("model", "MODEL", [1])],
        outputs=[("MODEL", "MODEL", [])],
    )
    inner["extra"] = {"ue_links": [sent(upstream="-10"), sent(-20, upstream="-10")]}
    host = node(7, "inner", inputs=[("model", "MODEL", 2)])
    saved = workflow(LOADER, host, save(3, 8), links=[(2, 1, 0, 7), (3, 7, 0, 8)], subgraphs=[inner])
    prompt = to_prompt(saved, INFO)
    assert set(prompt) == {"1", "7:9", "8"}
    assert prompt["7:9"]["inputs"]["model"] == prompt["8"]["inputs"]["model"] == ["1", 0]


def test_without_its_links_a_file_is_refused():
    saved = workflow(LOADER, everywhere(), save(), links=[(1, 1, 0, 5)])
    with pytest.raises(
        WorkflowError, match=r"node 5 \(Anything Everywhere\) gives .* cg-use-everywhere and save it again"
    ):
        to_prompt(saved, INFO)
    assert "9" in to_prompt(with_links(saved), INFO)


def test_a_node_that_sends_nothing_is_left_out():
    for unused in (everywhere(link=None), everywhere(mode=BYPASS)):
        assert set(to_prompt(workflow(LOADER, unused, save(2), links=[(1, 1, 0, 5), (2, 1, 0, 9)]), INFO)) == {"1", "9"}


def test_any_node_can_send():
    broadcaster = {**LOADER, "properties": {"ue_convert": True}}
    saved = workflow(broadcaster, save())
    assert to_prompt(with_links(saved, sent()), INFO)["9"]["inputs"]["model"] == ["1", 0]


def test_any_node_that_sends_is_refused_without_its_links():
    """It needs no input for that."""
    with pytest.raises(
        WorkflowError, match=r"node 1 \(Loader\) gives what it has to inputs that this file does not name"
    ):
        to_prompt(workflow({**LOADER, "properties": {"ue_convert": True}}, save()), INFO)


@pytest.mark.parametrize(
    ("link", "said"),
    [
        (None, r"extra.ue_links 0 is no link"),
        (sent(slot="0"), r"extra.ue_links 0 is no link"),
        (sent(slot=7), r"extra.ue_links 0 ends at input 7 of node 9 \(Save\), which is none of type MODEL"),
        (sent(kind="VAE"), r"ends at input 0 of node 9 \(Save\), which is none of type VAE"),
    ],
)
def test_a_damaged_link_is_refused(link, said):
    saved = workflow(LOADER, everywhere(), save(), links=[(1, 1, 0, 5)])
    with pytest.raises(WorkflowError, match=said):
        to_prompt(with_links(saved, link), INFO)
