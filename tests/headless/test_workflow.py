"""Saved workflows become prompts as the frontend would make them, and overrides hit the input they name."""

import pytest
from saved_workflows import INFO, node, workflow

from x2v_quant.headless.graph import BYPASS, NEVER
from x2v_quant.headless.workflow import WorkflowError, override, to_prompt


def inputs_of(saved, number):
    return to_prompt(saved, INFO)[str(number)]["inputs"]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("Loader", ["b.safetensors", "fp16", False], {"name": "b.safetensors", "precision": "fp16", "strict": False}),
        # saved before `strict` and `precision` existed: the frontend fills in what it gives a new node
        ("Loader", ["b.safetensors"], {"name": "b.safetensors", "precision": "auto", "strict": True}),
        ("Loader", {"precision": "fp16", "preview": 3}, {"name": "a.safetensors", "precision": "fp16", "strict": True}),
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


@pytest.mark.parametrize("link", [[1, 7, 0, 9, 0, "MODEL"], [5, 1, 0, 9, 0, "MODEL"]], ids=["no node", "no link"])
def test_a_link_from_nowhere_is_none(link):
    """The frontend leaves some in a file whose nodes were deleted."""
    saved = chain(end_link=1)
    saved["links"] = [link]
    assert "model" not in inputs_of(saved, 9)


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


# nodes whose widgets are more or fewer than their specification has
FRONTEND_INFO = {
    "Compare": {"input": {"required": {"view": ["IMAGECOMPARE", {}], "text": ["STRING", {}]}}},
    "Crop": {"input": {"required": {"region": ["BOUNDING_BOX", {}], "text": ["STRING", {}]}}},
    "Paint": {"input": {"required": {"color": ["COLOR", {"default": "#000000"}], "points": ["CURVE", {}]}}},
    "CustomCombo": {"input": {"required": {"choice": ["COMBO", {"options": []}]}}},
}
BOX = {"x": 1, "y": 2, "width": 3, "height": 4}


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("Compare", ["a"], {"view": {"__value__": ["", ""]}, "text": "a"}),
        ("Crop", [BOX, 1, 2, 3, 4, "a"], {"region": BOX, "text": "a"}),
        # a list of two would be taken for a link
        ("Paint", ["#ff0000", [0, 1]], {"color": "#ff0000", "points": {"__value__": [0, 1]}}),
        ("Paint", [], {"color": "#000000"}),
        (
            "CustomCombo",
            ["song", 0, "noise", "song"],
            {"choice": "song", "index": 1, "option1": "noise", "option2": "song"},
        ),
        ("CustomCombo", ["gone", 0, "noise"], {"choice": "gone", "index": -1, "option1": "noise"}),
    ],
)
def test_widgets_of_the_frontends_own(kind, values, expected):
    assert to_prompt(workflow(node(1, kind, values)), FRONTEND_INFO)["1"]["inputs"] == expected


@pytest.mark.parametrize(
    ("wanted", "source"),
    [
        ("MODEL", ["1", 0]),
        ("MASK", ["2", 0]),  # though the output says MODEL
        ("*", ["1", 0]),  # the input of the same place
        ("MODEL,CLIP", ["1", 0]),
        ("VAE", None),
    ],
)
def test_a_bypass_passes_on_what_the_input_takes(wanted, source):
    saved = workflow(
        node(1, "Loader", ["a.safetensors"]),
        node(2, "Loader", ["a.safetensors"], outputs=["MASK"]),
        node(
            3,
            "Filter",
            [1.0],
            [("model", "MODEL", 1), ("mask", "MASK", 2)],
            outputs=["MASK,MODEL"],
            mode=BYPASS,
        ),
        node(9, "Save", ["auto", "film"], [("model", wanted, 3)]),
        links=[(1, 1, 0, 3), (2, 2, 0, 3), (3, 3, 0, 9)],
    )
    assert inputs_of(saved, 9).get("model") == source


def test_what_comes_before_a_bypassed_node_is_to_fit_its_input():
    """Here one of any type: of the node before it the input of the same place."""
    saved = workflow(
        node(1, "Loader", ["a.safetensors"]),
        node(2, "Loader", ["a.safetensors"], outputs=["MASK"]),
        node(3, "Filter", [1.0], [("mask", "MASK", 2), ("model", "MODEL", 1)], mode=BYPASS),
        node(4, "Filter", [1.0], [("any", "*", 3)], mode=BYPASS),
        node(9, "Save", ["auto", "film"], [("model", "MODEL", 4)]),
        links=[(1, 1, 0, 3), (2, 2, 0, 3), (3, 3, 0, 4), (4, 4, 0, 9)],
    )
    assert inputs_of(saved, 9)["model"] == ["2", 0]


@pytest.mark.parametrize("mode", [0, NEVER, BYPASS])
def test_a_primitive_gives_its_value_whatever_its_mode(mode):
    saved = workflow(
        node(1, "PrimitiveNode", [0.5, "fixed"], outputs=["FLOAT"], mode=mode),
        node(2, "Filter", [1.0], [("strength", "FLOAT", 1)]),
        links=[(1, 1, 0, 2)],
    )
    assert inputs_of(saved, 2)["strength"] == 0.5


@pytest.mark.parametrize(
    "nodes", [[], [node(1, "Note", ["read me"])], [node(1, "Loader", ["a.safetensors"], mode=NEVER)]]
)
def test_a_workflow_in_which_nothing_runs_is_refused(nodes):
    with pytest.raises(
        WorkflowError, match=rf"Of the {len(nodes)} nodes of the workflow none is to run: they are muted"
    ):
        to_prompt(workflow(*nodes), INFO)


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
