"""The key of a recording in the cache changes when, and only when, the recording is gone."""

import gc

import pytest

from x2v_quant.calibration import Calibration
from x2v_quant.calibration.recordings import record, token


@pytest.fixture
def node(request):
    return request.node.name


def test_it_stays_while_the_recording_is_there(node):
    before = token(node)
    recording = record(node, Calibration())
    assert token(node) == token(node) == before
    del recording
    gc.collect()
    assert token(node) != before


def test_the_model_that_is_sampled_with_does_not_keep_it(node):
    calibration = Calibration()
    before = token(node)
    recording = record(node, calibration)
    assert recording.calibration is calibration
    del recording
    gc.collect()
    assert token(node) != before


def test_it_is_about_the_last_one(node):
    """The first one goes when what is in front of the node has changed: what was sampled with the second one stays."""
    before = token(node)
    first = record(node, Calibration())
    second = record(node, Calibration())
    del first
    gc.collect()
    assert token(node) == before
    del second
    gc.collect()
    assert token(node) != before


def test_it_is_never_the_same_twice(node):
    assert len({token(node) for _ in range(3)}) == 3


def test_nodes_have_their_own(node):
    held = record(node, Calibration()), record(f"{node} 2", Calibration())
    assert token(node) != token(f"{node} 2")
    assert len(held) == 2


def test_without_a_cache_nobody_asks_for_it(node):
    held = record(node, Calibration())
    assert token(node) == token(node)
    del held
