"""Calibrate and Load Calibration, the nodes: what the first says, and which files the second takes."""

import os
import types

import folder_paths
import pytest
import torch

from x2v_quant.calibration import Calibration
from x2v_quant.common.printable import printable
from x2v_quant.runtime.memory.recording import planned_recording


@pytest.fixture
def node(tmp_path, monkeypatch):
    """The node, with folders of its own, and a calibration in each and beside them."""
    from x2v_quant.nodes.calibrate import LoadCalibration

    for kind in ("input", "output", "temp"):
        monkeypatch.setattr(folder_paths, f"{kind}_directory", str(tmp_path / kind))
        saved(tmp_path / kind / "calibration" / f"{kind}.safetensors")
    saved(tmp_path / "outside.safetensors")
    saved(tmp_path / "inputs" / "neighbour.safetensors")
    return LoadCalibration


def saved(path):
    calibration = Calibration()
    calibration.add("layer", torch.ones(4), torch.ones(4), 1)
    calibration.calls = 1
    calibration.save(path)


@pytest.mark.parametrize(
    "name",
    [
        "calibration/input.safetensors",
        "calibration/input.safetensors [input]",
        "calibration/output.safetensors [output]",
        "calibration/temp.safetensors [temp]",
        "calibration/../calibration/input.safetensors",
    ],
)
def test_what_lies_in_the_folders_is_taken(name, node):
    assert node.validate_inputs(calibration_name=name) is True
    assert node.fingerprint_inputs(calibration_name=name) == node.fingerprint_inputs(calibration_name=name)
    assert node.execute(name).args[0].calls == 1


def outside(folder):
    """Names that lead out of the folders, to what is there and to what is not."""
    up = os.path.relpath("/etc/passwd", folder / "input")
    return [
        "../outside.safetensors",
        "../outside.safetensors [output]",
        "../outside.safetensors [temp]",
        "calibration/../../outside.safetensors",
        "../inputs/neighbour.safetensors",
        "../output/calibration/output.safetensors",
        str(folder / "outside.safetensors"),
        f"{folder / 'outside.safetensors'} [output]",
        "/etc/passwd",
        up,
        "../../../../../../../../etc/shadow",
        "../gone.safetensors",
        "calibration",
        "",
        ".",
        "calibration/input.safetensors\0",
        "a" * 5000,
        "linked.safetensors",
        "linked/outside.safetensors",
        "loop",
        "calibration/linked.safetensors [output]",
    ]


@pytest.fixture
def links(tmp_path, node):
    try:
        os.symlink(tmp_path / "outside.safetensors", tmp_path / "input" / "linked.safetensors")
        os.symlink(tmp_path / "outside.safetensors", tmp_path / "output" / "calibration" / "linked.safetensors")
        os.symlink(tmp_path, tmp_path / "input" / "linked")
        os.symlink("loop", tmp_path / "input" / "loop")
    except OSError:
        pytest.skip("this system makes no links")


def test_nothing_else_is_opened_or_told_from_what_is_not_there(node, links, tmp_path):
    for name in outside(tmp_path):
        words = (
            f"The calibration {printable(name)} is not in ComfyUI's output or input folder. Pick one from the list, or "
            "make one with Calibrate and Finish Calibration."
        )
        assert node.validate_inputs(calibration_name=name) == words
        for ask in (node.fingerprint_inputs, node.execute):
            with pytest.raises(FileNotFoundError) as caught:
                ask(calibration_name=name)
            assert str(caught.value) == words


def test_the_list_has_what_is_taken(node, links):
    (listed,) = (each.options for each in node.define_schema().inputs)
    assert listed == ["calibration/output.safetensors [output]", "calibration/input.safetensors"]
    assert all(node.validate_inputs(calibration_name=name) is True for name in listed)


def test_a_configuration_behind_a_link_is_not_listed(tmp_path, monkeypatch):
    from x2v_quant.nodes.lightx2v_config import config_files

    (tmp_path / "input").mkdir()
    (tmp_path / "secret.json").write_text("{}")
    (tmp_path / "input" / "mine.json").write_text("{}")
    os.symlink(tmp_path / "secret.json", tmp_path / "input" / "linked.json")
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    assert [name for name in config_files() if name.startswith("input/")] == ["input/mine.json"]


@pytest.mark.parametrize("free", [10**10, 10**5])
def test_calibrate_says_on_itself_how_much_it_takes(free, load_dense, monkeypatch):
    import comfy.model_management

    from x2v_quant.nodes import calibrate

    shown = []
    monkeypatch.setattr(calibrate, "show", shown.append)
    monkeypatch.setattr(comfy.model_management, "get_free_memory", lambda device: free)
    monkeypatch.setattr(calibrate.Calibrate, "hidden", types.SimpleNamespace(unique_id="calibrate"))
    model = load_dense()
    calibrate.Calibrate.execute(model, 100)
    planned = planned_recording(model.model.diffusion_model, 100)
    assert shown == [planned.about]
    assert planned.about.startswith("Records only" if free < 10**6 else "Records up to 100 tokens")
