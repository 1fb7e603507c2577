"""Words in names of files are filled in as the frontend fills them in."""

import time
from datetime import datetime

import pytest
from saved_workflows import node, subgraph, workflow

from x2v_quant.headless.replacements import formatted
from x2v_quant.headless.workflow import convert

INFO = {
    "SaveVideo": {"input": {"required": {"filename_prefix": ["STRING", {}]}}},
    "ShowText": {"input": {"required": {"filename_prefix": ["STRING", {}]}}},
    "Sampler": {
        "input": {
            "required": {
                "seed": ["INT", {"control_after_generate": True}],
                "cfg": ["FLOAT", {}],
                "kind": ["STRING", {}],
                "on": ["BOOLEAN", {}],
            }
        }
    },
}
SAMPLER = node(2, "Sampler", [7, "fixed", 8.0, "a/b:c", True], title="mine")


def named(text, *nodes, kind="SaveVideo", **more):
    found = convert(workflow(node(1, kind, [text]), *nodes, **more), INFO)
    return found.prompt["1"]["inputs"]["filename_prefix"], found.notes


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("a_%Sampler.seed%_%mine.cfg%", "a_7_8"),
        ("%mine.kind%/%mine.on%", "a_b_c/true"),
        ("%year%-%width%_100%", "%year%-%width%_100%"),  # for the server, and none at all
        ("%note.value%", "12"),
        ("plain", "plain"),
    ],
)
def test_words_are_filled_in(text, filled):
    assert named(text, SAMPLER, node(3, "PrimitiveNode", [12, "fixed"], title="note")) == (filled, [])


def test_a_name_for_search_and_replace():
    renamed = {**SAMPLER, "properties": {"Node name for S&R": "main"}}
    assert named("%main.seed%", renamed)[0] == "7"


def test_inside_a_subgraph():
    inner = subgraph("inner", SAMPLER)
    assert named("%Sampler.seed%", node(5, "inner"), subgraphs=[inner])[0] == "7"


def test_a_value_that_is_fed_by_a_primitive():
    fed = node(2, "Sampler", [7, "fixed", 8.0, "x", True], [("seed", "INT", 1)])
    assert (
        named("%Sampler.seed%", fed, node(3, "PrimitiveNode", [99, "fixed"], outputs=["INT"]), links=[(1, 3, 0, 2)])[0]
        == "99"
    )


def test_other_nodes_keep_theirs():
    assert named("%date:yyyy%", kind="ShowText")[0] == "%date:yyyy%"


@pytest.mark.parametrize("word", ["%Sampler.sed%", "%nobody.seed%"])
def test_what_names_nothing_stays_and_is_told(word):
    told = f"node 1 (SaveVideo) keeps '{word}' in its filename_prefix: there is no node of that name with that input"
    assert named(f"a_{word}", SAMPLER) == (f"a_{word}", [told])


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("yyyy-MM-dd", "2026-03-09"),
        ("yyMd_hhmmss", "2639_040506"),
        ("h:m:s", "4:5:6"),
        ("yyy", "yyy"),
        ("week", "week"),
    ],
)
def test_dates(form, text):
    assert formatted(form, datetime(2026, 3, 9, 4, 5, 6)) == text


def test_a_date_in_a_name():
    assert named("a/%date:yyyy%_x")[0] == f"a/{datetime.now().year}_x"


def test_many_words_take_no_longer_than_they_are_long():
    started = time.process_time()
    named("%nobody.seed%%Sampler.seed%" * 2000, *(node(number, "Sampler", [7]) for number in range(10, 2010)))
    assert time.process_time() - started < 5
