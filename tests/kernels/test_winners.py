"""The winners of a benchmark steer `auto`, on the machine they were measured on."""

import pytest
import torch

from x2v_quant.kernels import choose, winners
from x2v_quant.kernels.machine import Machine, default_device, describe

HERE = describe(default_device())


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("X2V_QUANT_HOME", str(tmp_path / "settings"))
    yield tmp_path / "settings"
    winners._saved.cache_clear()


def test_auto_takes_the_winner_for_that_shape_alone(home):
    usual = choose("int8-channel", HERE, (64, 128)).kernel.name
    winners.save(HERE, {("int8-channel", (64, 128)): "reference"})
    assert (home / "kernels.json").is_file()
    assert choose("int8-channel", HERE, (64, 128)).kernel.name == "reference"
    assert choose("int8-channel", HERE, (128, 64)).kernel.name == usual
    assert choose("fp8-channel", HERE, (64, 128)).kernel.name != "reference"


def test_what_another_machine_measured_does_not_count():
    winners.save(Machine("cuda", "H200", (9, 0), live=torch.device("cpu")), {("int8-channel", (64, 128)): "reference"})
    assert winners.winner("int8-channel", HERE, (64, 128)) is None


def test_entries_are_added_to_what_is_there():
    winners.save(HERE, {("int8-channel", (64, 128)): "reference"})
    winners.save(HERE, {("fp8-channel", (64, 128)): "dequant"})
    assert winners.winner("int8-channel", HERE, (64, 128)) == "reference"
    assert winners.winner("fp8-channel", HERE, (64, 128)) == "dequant"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"x": 1}', '{"CPU": null}'])
def test_a_damaged_file_is_as_good_as_none(home, content):
    home.mkdir()
    (home / "kernels.json").write_text(content)
    assert choose("int8-channel", HERE, (64, 128)).kernel.name


def test_a_winner_that_cannot_run_is_passed_over():
    winners.save(HERE, {("int8-channel", (64, 128)): "gone"})
    choice = choose("int8-channel", HERE, (64, 128))
    assert choice.kernel.name != "gone"
    assert "gone" in choice.passed_over
