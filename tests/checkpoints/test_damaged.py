"""A few hundred of the files that tests/damaged_files.py makes by the thousand."""

import random
from collections import Counter
from pathlib import Path

import pytest
from damaged import BAD, Judge, damaged_files
from damaged.run import damages_of
from damaged.sources import SOURCES

COUNT = 400


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    judge = Judge(Path(folder))
    return [(damaged, judge.verdict(damaged)) for damaged in damaged_files(range(COUNT), folder)]


def test_none_is_a_traceback_or_silent_or_slow_or_contradicted_by_inspect(judged):
    assert not [f"{held.number}: {said.kind}: {said.detail}" for held, said in judged if said.kind in BAD]


def test_they_are_refused_and_loaded(judged):
    """Damage that nothing reads, such as a key in the metadata, leaves a model that loads."""
    kinds = Counter(said.kind for _, said in judged)
    assert min(kinds["refused"], kinds["loaded"], kinds["loaded, told"]) >= COUNT // 40, kinds


@pytest.mark.parametrize("name", SOURCES)
def test_each_damage_of_a_source_changes_it(name):
    files = SOURCES[name]().files
    for damage, change in damages_of(files).items():
        assert any(change(random.Random(seed), dict(files)) != files for seed in range(4)), damage
