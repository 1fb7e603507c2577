"""Folders of commands that were killed go when the next one starts, and nothing else does."""

import os
import subprocess
import sys

import pytest

from x2v_quant.headless.base_folder import MARK, PREFIX, base_folder, sweep
from x2v_quant.writing import only_writer


@pytest.fixture
def dead():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def left(tmp_path, dead):
    """left(name, mark) -> a folder as a killed command leaves it."""

    def make(name=f"{PREFIX}abc", mark=str(dead)):
        folder = tmp_path / name
        (folder / "output").mkdir(parents=True)
        if mark is not None:
            (folder / MARK).write_text(mark)
        return folder

    return make


def test_a_folder_lives_as_long_as_its_command(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with base_folder() as folder:
        (folder / "server.log").touch()
        sweep(tmp_path)
        assert (folder / "server.log").exists()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_command_left_is_swept_at_the_next_start(tmp_path, left, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = left()
    with base_folder():
        assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        ("x2v-quant-notes", None),
        ("x2v-quant-notes", "the owner of this is me"),
        ("x2v-quant-notes", ""),
        ("another-abc", "1"),
        (f"{PREFIX}abc", str(os.getpid())),
    ],
    ids=["no mark", "words", "empty", "another name", "alive"],
)
def test_what_is_not_provably_ours_and_dead_stays(name, mark, tmp_path, left):
    folder = left(name, mark)
    sweep(tmp_path)
    assert (folder / "output").exists()


def test_a_folder_that_is_locked_stays(tmp_path, left):
    """Of a command in another container, say, where our process ids mean nothing."""
    folder = left()
    with only_writer(folder / MARK):
        sweep(tmp_path)
        assert folder.exists()
    sweep(tmp_path)
    assert not folder.exists()


@pytest.mark.skipif(os.name == "nt", reason="links take a privilege there")
def test_a_link_is_not_followed(tmp_path, left):
    folder = left("mine")
    (tmp_path / f"{PREFIX}link").symlink_to(folder)
    sweep(tmp_path)
    assert (folder / "output").exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root gives files away")
def test_a_folder_of_another_user_stays(tmp_path, left):
    folder = left()
    os.chown(folder, 12345, 12345)
    sweep(tmp_path)
    assert folder.exists()
