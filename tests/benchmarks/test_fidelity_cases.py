"""The order of prompts and seeds: any number of them mixes the scenes, held-out ones in their proportion."""

import pytest

from x2v_quant.benchmarks.fidelity.cases import pick
from x2v_quant.demo.scenes import HELD_OUT, SCENES


def test_no_scene_comes_twice_before_all_have_been_there():
    scenes = [case.scene for case in pick(2 * len(SCENES))]
    assert set(scenes[: len(SCENES)]) == set(scenes[len(SCENES) :]) == set(SCENES)


@pytest.mark.parametrize("number,held_out", [(1, 0), (5, 0), (6, 1), (36, 6), (108, 18)])
def test_one_in_six_is_held_out(number, held_out):
    cases = pick(number)
    assert len(cases) == number
    assert sum(case.held_out for case in cases) == held_out
    assert all(case.held_out == (case.scene in HELD_OUT) for case in cases)


def test_more_cases_begin_with_the_same_ones_and_no_noise_comes_twice():
    assert pick(108)[:36] == pick(36)
    assert len({case.seed for case in pick(108)}) == 108


@pytest.mark.parametrize("word", ["colour", "shape", "direction"])
def test_a_few_cases_have_every_word(word):
    assert {getattr(case.scene, word) for case in pick(36)} == {getattr(scene, word) for scene in SCENES}
