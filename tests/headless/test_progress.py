"""The bars of a running prompt, from the events as ComfyUI sends them."""

import io

import pytest

from x2v_quant.headless.client import Event
from x2v_quant.headless.progress import Progress

PROMPT = {
    "1": {"class_type": "Loader", "inputs": {}},
    "2": {"class_type": "KSampler", "inputs": {}, "_meta": {"title": "Sample It"}},
    "3": {"class_type": "Save", "inputs": {}},
}


def executing(node):
    return Event("executing", {"node": node})


def step(value, node="2"):
    return Event("progress", {"node": node, "value": value, "max": 4})


RUN = [
    Event("execution_start", {}),
    Event("execution_cached", {"nodes": ["1"]}),
    executing("2"),
    *map(step, (1, 2, 3, 4)),
    executing("3"),
    executing(None),
]


def drawn(events, **options):
    file = io.StringIO()
    progress = Progress(PROMPT, file, **options)
    for event in events:
        progress(event)
    progress.close()
    return file.getvalue()


def test_nodes_are_counted_and_named():
    text = drawn(RUN, disable=False)
    assert "Sample It:" in text
    assert "3/3" in text.splitlines()[-1]
    assert "Save" in text.splitlines()[-1]


@pytest.mark.parametrize(("steps", "count"), [((1, 2, 3, 4), 4), ((1, 2), 2), ((2, 1), 1)])
def test_steps_of_the_current_node_have_a_bar(steps, count):
    """A sampler that starts anew counts from the beginning."""
    progress = Progress(PROMPT, io.StringIO(), disable=False)
    for event in (executing("2"), *map(step, steps)):
        progress(event)
    assert (progress._steps.n, progress._steps.total) == (count, 4)
    assert progress._steps.desc.strip(" :") == "Sample It"
    progress.close()


def test_a_node_that_another_made_while_it_ran_is_named_and_not_counted():
    text = drawn([executing("2"), executing("2.0.0.7")], disable=False)
    assert "1/3" in text.splitlines()[-1]
    assert "2.0.0.7" in text.splitlines()[-1]


def test_nothing_is_drawn_where_there_is_no_terminal():
    assert drawn(RUN) == ""
