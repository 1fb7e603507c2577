"""Saved workflows become prompts as the frontend would make them, and overrides hit the input they name."""

import json
from pathlib import Path

import pytest

from x2v_quant.headless.workflow import BYPASS, NEVER, WorkflowError, override, to_prompt

INFO = json.loads((Path(__file__).parent / "object_info.json").read_text())


def node(number, kind, values=(), inputs=(), outputs=("MODEL",), **more):
    """inputs: (name, type, link)."""
    return {
        "id": number,
        "type": kind,
        "mode": 0,
        "widgets_values": values if isinstance(values, dict) else list(values),
        "inputs": [{"name": name, "type": type_, "link": link} for name, type_, link in inputs],
        "outputs": [{"name": type_, "type": type_} for type_ in outputs],
        **more,
    }


def workflow(*nodes, links=()):
    """links: (id, origin node, origin slot, target node)."""
    return {"nodes": list(nodes), "links": [[*link, 0, "MODEL"] for link in links], "version": 0.4}


def inputs_of(saved, number):
    return to_prompt(saved, INFO)[str(number)]["inputs"]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("Loader", ["b.safetensors", "fp16", False], {"name": "b.safetensors", "precision": "fp16", "strict": False}),
        # saved before `strict` and `precision` existed: the frontend fills in what it gives a new node
        ("Loader", ["b.safetensors"], {"name": "b.safetensors", "precision": "auto", "strict": True}),
        ("Loader", {"precision": "fp16", "preview": 3}, {"precision": "fp16"}),
        (
            "Sampler",
            [5, "randomize", 6, "fixed", 30, 2.5, "heun", "increment", ""],
            {"seed": 5, "noise_seed": 6, "steps": 30, "cfg": 2.5, "kind": "heun"},
        ),
        # written without a browser: no control behind the seeds
        ("Sampler", [5, 6, 30, 2.5, "heun"], {"seed": 5, "noise_seed": 6, "steps": 30, "cfg": 2.5, "kind": "heun"}),
        ("Image", ["x.png", "image", True], {"image": "x.png", "crop": True}),
        ("Save", ["auto", "film"], {"codec": "auto", "prefix": "film"}),
        (
            "Save",
            ["h264", 18.0, "slow", 3, "film"],
            {"codec": "h264", "codec.crf": 18.0, "codec.mode": "slow", "codec.mode.passes": 3, "prefix": "film"},
        ),
        (
            "Save",
            ["h264", 18.0, "fast", "film"],
            {"codec": "h264", "codec.crf": 18.0, "codec.mode": "fast", "prefix": "film"},
        ),
    ],
)
def test_widget_values_find_their_names(kind, values, expected):
    assert inputs_of(workflow(node(1, kind, values)), 1) == expected


def test_a_link_replaces_a_widget_value_but_keeps_its_place():
    saved = workflow(
        node(1, "PrimitiveNode", [99, "fixed"], outputs=["INT"]),
        node(2, "Sampler", [5, "fixed", 6, "fixed", 30, 2.5, "heun"], inputs=[("seed", "INT", 1)]),
        links=[(1, 1, 0, 2)],
    )
    assert inputs_of(saved, 2)["seed"] == 99
    assert inputs_of(saved, 2)["steps"] == 30
    assert set(to_prompt(saved, INFO)) == {"2"}


def chain(*middle, end_link):
    """Loader 1 -> the nodes in the middle -> Save 9."""
    links = [(number, number, 0, number + 1) for number in range(1, len(middle) + 2)]
    return workflow(
        node(1, "Loader", ["a.safetensors", "auto"]),
        *middle,
        node(9, "Save", ["auto", "film"], inputs=[("model", "MODEL", end_link)]),
        links=links,
    )


def test_links_become_node_and_slot():
    assert inputs_of(chain(end_link=1), 9)["model"] == ["1", 0]


def test_schema_1_links():
    saved = chain(end_link=1)
    saved["links"] = [{"id": 1, "origin_id": 1, "origin_slot": 0, "target_id": 9, "target_slot": 0, "type": "MODEL"}]
    assert inputs_of(saved, 9)["model"] == ["1", 0]


def test_reroutes_are_followed():
    reroutes = [node(number, "Reroute", inputs=[("", "*", number - 1)], outputs=["*"]) for number in (2, 3)]
    prompt = to_prompt(chain(*reroutes, end_link=3), INFO)
    assert prompt["9"]["inputs"]["model"] == ["1", 0]
    assert set(prompt) == {"1", "9"}


@pytest.mark.parametrize(("mode", "source"), [(0, ["2", 0]), (BYPASS, ["1", 0]), (NEVER, None)])
def test_modes(mode, source):
    """The filter's first input is a MASK: a bypass must pass on the second, which fits the output."""
    middle = node(2, "Filter", [1.0], inputs=[("mask", "MASK", None), ("model", "MODEL", 1)], mode=mode)
    prompt = to_prompt(chain(middle, end_link=2), INFO)
    assert prompt["9"]["inputs"].get("model") == source
    assert ("2" in prompt) == (mode == 0)


def test_notes_vanish_and_titles_stay():
    saved = workflow(
        node(1, "MarkdownNote", ["read me"]),
        node(2, "Note", ["me too"]),
        node(3, "Loader", ["a.safetensors", "auto"]),
        node(4, "Loader", ["a.safetensors", "auto"], title="Second"),
    )
    prompt = to_prompt(saved, INFO)
    assert {number: entry["_meta"]["title"] for number, entry in prompt.items()} == {"3": "Load It", "4": "Second"}


def test_a_prompt_stays_a_prompt():
    prompt = {"3": {"class_type": "Loader", "inputs": {"name": "a.safetensors"}}}
    assert to_prompt(prompt, INFO) == prompt


def test_unknown_node_is_named():
    with pytest.raises(WorkflowError, match="node 7 is a Gone"):
        to_prompt(workflow(node(7, "Gone")), INFO)


def test_unknown_node_of_a_prompt_is_named():
    with pytest.raises(WorkflowError, match=r"node 7 is a Sampller, unknown to this server.*Did you mean 'Sampler'\?"):
        to_prompt({"7": {"class_type": "Sampller", "inputs": {}}}, INFO)


def test_subgraph_is_named():
    saved = workflow(node(7, "1b2c"))
    saved["definitions"] = {"subgraphs": [{"id": "1b2c"}]}
    with pytest.raises(WorkflowError, match="node 7 is a subgraph"):
        to_prompt(saved, INFO)


PROMPT = {
    "3": {"class_type": "Loader", "inputs": {"name": "a.safetensors"}, "_meta": {"title": "Wan 2.1 Loader"}},
    "4": {"class_type": "Loader", "inputs": {"name": "a.safetensors"}, "_meta": {"title": "Other"}},
    "5": {"class_type": "Save", "inputs": {"codec": "h264", "codec.crf": 18.0}, "_meta": {"title": "Save"}},
}


@pytest.mark.parametrize(
    ("key", "number", "name"),
    [
        ("3.name", "3", "name"),
        ("Wan 2.1 Loader.name", "3", "name"),  # a dot in the title
        ("Other.strict", "4", "strict"),  # an optional input that the prompt leaves out
        ("Save.codec.crf", "5", "codec.crf"),  # a dot in the input's name
    ],
)
def test_override(key, number, name):
    changed = override(PROMPT, {key: "new"}, INFO)
    assert changed[number]["inputs"][name] == "new"
    del changed[number]["inputs"][name]
    before = {node: {**entry, "inputs": dict(entry["inputs"])} for node, entry in PROMPT.items()}
    before[number]["inputs"].pop(name, None)
    assert changed == before


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("Loader.name", "nodes 3, 4 are all called 'Loader'"),
        ("Nobody.name", "no node of this workflow has that id, title or class$"),
        ("loder.name", r"no node of this workflow has that id, title or class. Did you mean 'Loader'\?"),
        ("Other.nane", r"only name, precision, scheme, strict. Did you mean 'name'\?"),
        ("Other.size", "a Loader has no input 'size', only name, precision, scheme, strict"),
    ],
)
def test_override_refuses(key, message):
    with pytest.raises(WorkflowError, match=message):
        override(PROMPT, {key: 1}, INFO)
